"""`ezstems webhooks`: where the ends of an account's jobs are told, and what became of the messages."""

import click
from flask import current_app

from ezstems.commands import account, table, with_instance
from ezstems.database import db
from ezstems.errors import BadInput
from ezstems.models import PENDING, Delivery, Webhook
from ezstems.webhooks import AllowedHosts, checked_url


@click.group()
def webhooks() -> None:
    """Manage webhooks."""


@webhooks.command()
@click.argument("email")
@click.option("--secret", is_flag=True, help="Print the secret, alone.")
@with_instance
def show(email: str, secret: bool) -> None:
    """Show an account's URL and how its secret stands, or the secret."""
    user = account(email)
    if secret:
        click.echo(Webhook.of(user.id).secret)
        db.session.commit()
        return
    found = Webhook.seen(user.id)
    gone = f", switched off: it answered 410 at {found.gone_at}" if found.gone_at else ""
    click.echo(f"url: {found.url or 'none'}{gone}")
    click.echo(f"secret changed: {found.rotated_at or 'never'}")
    if current_app.config["EZSTEMS_WEBHOOKS"] != "on":
        click.echo("EZSTEMS_WEBHOOKS is off: nothing is sent")


@webhooks.command("set")
@click.argument("email")
@click.argument("url", default="")
@with_instance
def set_url(email: str, url: str) -> None:
    """Set an account's URL; without one, only jobs that name their own are told of."""
    user = account(email)
    try:
        checked = checked_url(url, AllowedHosts(current_app.config["EZSTEMS_WEBHOOK_HOSTS"])) if url.strip() else None
    except BadInput as error:
        raise click.ClickException(str(error)) from error
    Webhook.set_url(user.id, checked)
    click.echo(f"{user.email}: webhooks go to {checked}" if checked else f"{user.email}: no URL")


@webhooks.command()
@click.argument("email")
@with_instance
def rotate(email: str) -> None:
    """Make an account a new secret and print it, alone; for 24 hours the one before it signs, too."""
    click.echo(Webhook.rotate(account(email).id))


@webhooks.command()
@click.argument("email")
@with_instance
def test(email: str) -> None:
    """Have the server send a message that tells of no job to an account's URL."""
    row = Delivery.test(account(email).id)
    if row is None:
        raise click.ClickException(f"{email} has no URL; set it with: ezstems webhooks set {email} URL")
    click.echo(f"{row.id}: the server sends it; `ezstems webhooks list --account {email}` shows what came of it")


@webhooks.command("list")
@click.option("--account", "email", help="Only of this account.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_instance
def list_deliveries(email: str | None, limit: int) -> None:
    """List the last deliveries, the newest first."""
    rows = Delivery.last(limit, account(email).id if email else None)
    table(
        [
            (
                delivery.id,
                user.email,
                delivery.event,
                delivery.job_id,
                delivery.host,
                delivery.state,
                delivery.attempts,
                delivery.last_status or delivery.last_error,
                delivery.next_at if delivery.state == PENDING else None,
            )
            for delivery, user in rows
        ],
        *("ID", "EMAIL", "EVENT", "JOB", "HOST", "STATE", "TRIES", "LAST ANSWER", "NEXT TRY (UTC)"),
    )


@webhooks.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1, 2**63 - 1))
@with_instance
def resend(ids: tuple[int, ...]) -> None:
    """Send messages again, each with the id that it had."""
    for number in ids:
        if Delivery.resend(number):
            click.echo(f"{number}: the server sends it again")
        else:
            raise click.ClickException(f"there is no delivery {number}, or it is being sent at this moment")
