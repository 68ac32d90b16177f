"""The landing page."""

from flask import Blueprint, render_template

from ezstems.jobs import current_desk

blueprint = Blueprint("landing", __name__)


@blueprint.get("/")
def landing() -> str:
    """Show what this is and which model it uses."""
    return render_template("landing.html", model=current_desk().model())
