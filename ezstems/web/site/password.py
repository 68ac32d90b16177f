"""Choose a password: the rule that every form shares, and the page that changes one."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from wtforms import PasswordField, SubmitField
from wtforms.validators import DataRequired, Length, ValidationError

from ezstems.database import db
from ezstems.web import throttle
from ezstems.web.auth import begin_session

blueprint = Blueprint("password", __name__)

MIN_LENGTH = 10


def new_password(label: str) -> PasswordField:
    """Make the field of a password to be chosen."""
    return PasswordField(
        label,
        validators=[
            DataRequired("Choose a password."),
            Length(min=MIN_LENGTH, message=f"Use at least {MIN_LENGTH} characters."),
            Length(max=1024, message="Use at most 1024 characters."),
        ],
        render_kw={"autocomplete": "new-password"},
    )


def refuse_address(password: str, address: str) -> None:
    """Refuse a password that is the e-mail address: the first that anybody would guess."""
    if password.strip().lower() == address.strip().lower():
        raise ValidationError("Choose a password that isn't your e-mail address.")


class PasswordForm(FlaskForm):
    """Ask for the present password and a new one."""

    present = PasswordField(
        "Present password",
        validators=[DataRequired("Type your present password."), Length(max=1024)],
        render_kw={"autocomplete": "current-password"},
    )
    password = new_password("New password")
    submit = SubmitField("Change the password")

    def validate_present(self, field: Any) -> None:
        """Let nobody change it who merely found the page open."""
        if not throttle.check_password(current_user, field.data):
            raise ValidationError("This isn't your present password.")

    def validate_password(self, field: Any) -> None:
        """Refuse the account's address."""
        refuse_address(field.data, current_user.email)


@blueprint.route("/password", methods=["GET", "POST"])
@login_required
def password() -> ResponseReturnValue:
    """Show the form, or change the password, which ends every other session of the account."""
    form = PasswordForm()
    if not form.validate_on_submit():
        return render_template("password.html", form=form)
    user = current_user._get_current_object()
    user.set_password(form.password.data)
    db.session.commit()
    begin_session(user)
    flash("The password is changed. Every other session of this account is over.")
    return redirect(url_for("account.account"))
