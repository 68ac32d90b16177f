"""Log in and out."""

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required, logout_user
from flask_wtf import FlaskForm
from werkzeug.security import check_password_hash, generate_password_hash
from wtforms import EmailField, PasswordField, SubmitField
from wtforms.validators import DataRequired, Length

from ezstems.models import User
from ezstems.web.auth import begin_session

blueprint = Blueprint("login", __name__)

# An unknown address is checked against this, so that it takes as long as a wrong password.
_NOBODY = generate_password_hash("nobody has this password")


class LoginForm(FlaskForm):
    """Ask for e-mail address and password."""

    email = EmailField(
        "E-mail",
        validators=[DataRequired("Type your e-mail address."), Length(max=254)],
        render_kw={"autocomplete": "username"},
    )
    password = PasswordField(
        "Password",
        validators=[DataRequired("Type your password."), Length(max=1024)],
        render_kw={"autocomplete": "current-password"},
    )
    submit = SubmitField("Log in")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the form, or begin a session."""
    form = LoginForm()
    if not form.validate_on_submit():
        return render_template("login.html", form=form)
    user = User.with_address(form.email.data)
    known = check_password_hash(_NOBODY if user is None else user.password_hash, form.password.data)
    if user is None or not known:
        form.password.errors = [*form.password.errors, "E-mail address or password is wrong."]
        return render_template("login.html", form=form)
    begin_session(user)
    return redirect(_wanted_path())


@blueprint.post("/logout")
@login_required
def logout() -> ResponseReturnValue:
    """End the session."""
    logout_user()
    session.clear()
    return redirect(url_for("landing.landing"))


def _wanted_path() -> str:
    """Return the page that `next` names, if it is one of this site, or else the account."""
    path = request.args.get("next", "")
    # Browsers take `//host`, `/\host`, and these with tabs or line breaks in them, for another site.
    local = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if local else url_for("account.account")
