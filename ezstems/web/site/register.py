"""Make an account, where the settings let visitors do so."""

from typing import Any

from flask import Blueprint, current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import EmailField, SubmitField
from wtforms.validators import DataRequired, ValidationError

from ezstems.errors import NotFound
from ezstems.models import User
from ezstems.web import throttle
from ezstems.web.auth import begin_session
from ezstems.web.site.password import new_password, refuse_address

blueprint = Blueprint("register", __name__)

PLAN = "basic"


class RegisterForm(FlaskForm):
    """Ask for an e-mail address and a password."""

    email = EmailField(
        "E-mail", validators=[DataRequired("Type your e-mail address.")], render_kw={"autocomplete": "username"}
    )
    password = new_password("Password")
    submit = SubmitField("Make an account")

    def validate_email(self, field: Any) -> None:
        """Take what `ezstems users add` takes."""
        try:
            User.address(field.data)
        except ValueError:
            raise ValidationError("This must be an e-mail address, like you@example.com.") from None

    def validate_password(self, field: Any) -> None:
        """Refuse the account's address."""
        refuse_address(field.data, self.email.data or "")


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> ResponseReturnValue:
    """Show the form, or make an account and begin its first session."""
    if current_app.config["EZSTEMS_REGISTRATION"] == "closed":
        raise NotFound("Registration is closed on this server. Its operator can make you an account.")
    form = RegisterForm()
    if not form.validate_on_submit():
        return render_template("register.html", form=form, taken=False)
    throttle.count_registration()
    user = User.register(form.email.data, PLAN, None, form.password.data)
    if user is None:
        return render_template("register.html", form=form, taken=True)
    begin_session(user)
    return redirect(url_for("upload_page.page"))
