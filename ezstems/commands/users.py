"""`ezstems users`: the accounts."""


import click
from flask import current_app
from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select

from ezstems.commands import account, table, with_app, with_instance
from ezstems.database import db
from ezstems.jobs.storage import open_archive
from ezstems.models import (
    CUSTOM_MAX_MB,
    PLANS,
    PROCESSING,
    QUEUED,
    ApiKey,
    FileNames,
    IdempotencyKey,
    Job,
    Session,
    User,
)

max_mb_option = click.option(
    "--max-mb", type=click.IntRange(1, CUSTOM_MAX_MB), help="Largest upload in MiB; for the custom plan, and only it."
)


@click.group()
def users() -> None:
    """Manage accounts."""


@users.command()
@click.argument("email")
@click.option("--plan", type=click.Choice(PLANS), default="basic", show_default=True)
@max_mb_option
@click.password_option(help="Asked for where it is missing.")
@with_app
def add(email: str, plan: str, max_mb: int | None, password: str) -> None:
    """Make an account."""
    check_plan(plan, max_mb)
    user = make(email, plan, max_mb, password)
    click.echo(f"{user.email}: plan {plan}, files up to {user.max_upload_bytes // 1024**2} MB")


@users.command("list")
@with_instance
def list_users() -> None:
    """List the accounts."""
    keys = select(func.count()).where(ApiKey.user_id == User.id, ApiKey.is_active).scalar_subquery()
    active = select(Job.user_id, func.count().label("jobs")).where(Job.status.in_((QUEUED, PROCESSING)))
    busy = active.group_by(Job.user_id).subquery()
    jobs = func.coalesce(busy.c.jobs, 0)
    rows = db.session.execute(select(User, keys, jobs).outerjoin(busy, busy.c.user_id == User.id).order_by(User.id))
    table(
        [(u.id, u.email, u.plan, u.max_upload_bytes // 1024**2, *counts, u.created_at) for u, *counts in rows],
        *("ID", "EMAIL", "PLAN", "MAX MB", "ACTIVE KEYS", "UNFINISHED JOBS", "CREATED (UTC)"),
    )


@users.command("set-plan")
@click.argument("email")
@click.option("--plan", type=click.Choice(PLANS), required=True)
@max_mb_option
@with_instance
def set_plan(email: str, plan: str, max_mb: int | None) -> None:
    """Change an account's plan."""
    check_plan(plan, max_mb)
    user = account(email)
    user.plan, user.max_mb = plan, max_mb
    db.session.commit()
    click.echo(f"{user.email}: plan {plan}, files up to {user.max_upload_bytes // 1024**2} MB")


@users.command("set-password")
@click.argument("email")
@click.password_option(help="Asked for where it is missing.")
@with_instance
def set_password(email: str, password: str) -> None:
    """Change an account's password, and end its sessions on the website."""
    check_password(password)
    user = account(email)
    user.set_password(password)
    db.session.commit()
    click.echo(f"{user.email}: the password is changed, every session of the website is over")


@users.command()
@click.argument("email")
@click.confirmation_option(prompt="Delete the account with its keys, its jobs and their files, for good?")
@with_instance
def delete(email: str) -> None:
    """Delete an account with its keys, its jobs and their files; what is being separated stops within seconds."""
    user, archive = account(email), open_archive(current_app, "command")
    # Here, or in SQLite by the first statement, this waits for uploads of the account, and lets none come in between.
    User.lock(user.id)
    for table_of in (ApiKey, Session, IdempotencyKey):
        db.session.execute(delete_rows(table_of).where(table_of.user_id == user.id))
    named = Job.id, Job.filename, Job.upload_key, Job.owner
    rows = db.session.execute(delete_rows(Job).where(Job.user_id == user.id).returning(*named)).tuples()
    jobs = [FileNames(*row) for row in rows]
    db.session.delete(user)
    db.session.commit()
    for files in jobs:
        archive.remove(files)
    click.echo(f"{user.email}: deleted, with {len(jobs)} jobs")


def check_plan(plan: str, max_mb: int | None) -> None:
    """Refuse a plan and a size that don't belong together."""
    if (plan == "custom") != (max_mb is not None):
        raise click.ClickException(f"--plan {plan} --max-mb {max_mb}: the custom plan needs a size, no other takes one")


def make(email: str, plan: str, max_mb: int | None, password: str) -> User:
    """Add an account."""
    check_password(password)
    try:
        user = User.register(email, plan, max_mb, password)
    except ValueError as error:
        raise click.ClickException(f"{email!r} {error}") from error
    if user is None:
        raise click.ClickException(f"the account {email.strip().lower()} exists already")
    return user


def check_password(password: str) -> None:
    """Refuse an empty password; the operator may choose a short one, which the website doesn't let visitors."""
    if not password:
        raise click.ClickException("the password must not be empty")
