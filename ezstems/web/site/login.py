"""Log in and out."""

from flask import Blueprint, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required, login_user, logout_user
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash
from wtforms import EmailField, PasswordField, SubmitField
from wtforms.validators import DataRequired, Length

from ezstems.database import db
from ezstems.models import User

blueprint = Blueprint("login", __name__)

# An unknown address is checked against this, so that it takes as long as a wrong password.
_NOBODY = generate_password_hash("nobody has this password")


class LoginForm(FlaskForm):
    """Ask for e-mail address and password."""

    email = EmailField("E-mail", validators=[DataRequired(), Length(max=254)], render_kw={"autocomplete": "username"})
    password = PasswordField(
        "Password", validators=[DataRequired(), Length(max=1024)], render_kw={"autocomplete": "current-password"}
    )
    submit = SubmitField("Log in")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the form, or begin a session."""
    form = LoginForm()
    if not form.validate_on_submit():
        return render_template("login.html", form=form)
    user = db.session.scalar(select(User).where(User.email == form.email.data.strip().lower()))
    known = check_password_hash(_NOBODY if user is None else user.password_hash, form.password.data)
    if user is None or not known:
        form.password.errors = [*form.password.errors, "E-mail address or password is wrong."]
        return render_template("login.html", form=form)
    # Nothing of a session that somebody else may have planted survives the login.
    session.clear()
    login_user(user)
    return redirect(url_for("account.account"))


@blueprint.post("/logout")
@login_required
def logout() -> ResponseReturnValue:
    """End the session."""
    logout_user()
    session.clear()
    return redirect(url_for("landing.landing"))
