"""The landing page."""

from flask import Blueprint, render_template

from ezstems.jobs import current_desk
from ezstems.web.site.demo import STEM_NAMES, Demo, demo_url

blueprint = Blueprint("landing", __name__)


@blueprint.get("/")
def landing() -> str:
    """Show what this is, the mixer with the demo in it, and which model is used."""
    return render_template(
        "landing.html",
        model=current_desk().model(),
        song=Demo(),
        stem_names=STEM_NAMES,
        is_demo=True,
        url_for=demo_url,
    )
