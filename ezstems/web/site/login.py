"""Log in and out."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from wtforms import EmailField, PasswordField, SubmitField
from wtforms.validators import DataRequired, Length

from ezstems.database import db
from ezstems.models import Session
from ezstems.web import throttle
from ezstems.web.auth import begin_session, end_session

blueprint = Blueprint("login", __name__)


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
    user = throttle.log_in(form.email.data, form.password.data)
    if user is None or not begin_session(user):
        form.password.errors = [*form.password.errors, "E-mail address or password is wrong."]
        return render_template("login.html", form=form)
    return redirect(_wanted_path())


@blueprint.post("/logout")
@login_required
def logout() -> ResponseReturnValue:
    """End the session."""
    end_session()
    return redirect(url_for("landing.landing"))


@blueprint.post("/logout/everywhere")
@login_required
def logout_everywhere() -> ResponseReturnValue:
    """End every session of the account, this one too."""
    Session.end_all(current_user.id)
    db.session.commit()
    end_session()
    flash("Every session of the account is over.")
    return redirect(url_for(".login"))


def _wanted_path() -> str:
    """Return the page that `next` names, if it is one of this site, or else the upload."""
    path = request.args.get("next", "")
    # Browsers take `//host`, `/\host`, and these with tabs or line breaks in them, for another site.
    local = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if local else url_for("upload_page.page")
