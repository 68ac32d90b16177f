"""The account: its plan and its keys, which are made and deactivated through keys.php."""

from flask import Blueprint, render_template
from flask_login import current_user, login_required
from sqlalchemy import select

from ezstems.database import db
from ezstems.models import ApiKey

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@login_required
def account() -> str:
    """Show the account."""
    keys = db.session.scalars(select(ApiKey).where(ApiKey.user_id == current_user.id).order_by(ApiKey.id)).all()
    return render_template("account.html", keys=keys)
