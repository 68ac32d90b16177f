"""`ezstems jobs`: what was uploaded, and what became of it."""

from datetime import timedelta
from pathlib import Path

import click
from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from ezstems import disk
from ezstems.commands import account, table, with_instance
from ezstems.database import db
from ezstems.jobs import retention
from ezstems.jobs.archive import Archive
from ezstems.jobs.storage import open_archive
from ezstems.models import FAILED, STATES, Job


@click.group()
def jobs() -> None:
    """Look after jobs."""


@jobs.command("list")
@click.option("--status", type=click.Choice(STATES), help="Only the jobs in this state.")
@click.option("--account", "email", metavar="EMAIL", help="Only the jobs of this account.")
@click.option("--before", metavar="ID", help="Only the jobs that were uploaded before this one: the next page.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@with_instance
def list_jobs(status: str | None, email: str | None, before: str | None, limit: int) -> None:
    """List jobs, the newest first."""
    query = select(Job).options(joinedload(Job.user)).order_by(Job.number.desc()).limit(limit)
    if status:
        query = query.where(Job.status == status)
    if email:
        query = query.where(Job.user_id == account(email).id)
    if before:
        query = query.where(Job.number < found(before).number)
    rows = db.session.scalars(query)
    table(
        [
            (j.id, j.user.email, state(j), f"{j.progress}%", j.model, j.size_bytes, j.created_at, j.original_name)
            for j in rows
        ],
        *("ID", "EMAIL", "STATUS", "PROGRESS", "MODEL", "BYTES", "CREATED (UTC)", "FILE"),
    )


@jobs.command()
@click.argument("job_id", metavar="ID")
@with_instance
def show(job_id: str) -> None:
    """Show everything about a job."""
    job = found(job_id)
    for column in Job.__table__.columns:
        click.echo(f"{column.name:14} {'' if (value := getattr(job, column.name)) is None else value}".rstrip())
    click.echo(f"{'email':14} {job.user.email}")


@jobs.command()
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_instance
def retry(job_ids: tuple[str, ...]) -> None:
    """Put jobs that the server itself let fail back into the queue; a running server takes them within seconds."""
    archive = _archive()
    for job in [found(job_id) for job_id in job_ids]:
        if job.status != FAILED or not archive.has_source(job) or not Job.retry(job.number):
            why = "only a job that failed by the server's fault, and whose upload is still kept, can be retried"
            raise click.ClickException(f"job {job.id} is {state(job)}; {why}")
        click.echo(f"job {job.id} is queued again")


@jobs.command()
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_instance
def delete(job_ids: tuple[str, ...]) -> None:
    """Delete jobs in whatever state, and their files; one that is being separated stops within seconds."""
    archive = _archive()
    for job in [found(job_id) for job_id in job_ids]:
        if not retention.expire_and_delete(archive, job, Job.delete):
            raise click.ClickException(f"job {job.id} expired or was deleted before")
        click.echo(f"job {job.id} is deleted")


@jobs.command()
@click.option("--now", "believe", is_flag=True, help="Believe the clock, also where it jumped ahead.")
@with_instance
def prune(believe: bool) -> None:
    """Delete the files of jobs past their retention now."""
    archive, hours = _archive(), current_app.config["EZSTEMS_RETENTION_HOURS"]
    clock = retention.trusted_clock(archive)
    click.echo(f"{retention.sweep(archive, hours, clock, believe=believe)} jobs expired")
    if clock.moment is not None and clock.moment.is_doubted:
        click.echo(clock.moment.explain())
    if lost := list(archive.lost.files()):
        size_mb = sum(file.size_bytes for file in lost) / 1e6
        first, last = (pick(file.since for file in lost) + timedelta(hours=hours) for pick in (min, max))
        until = f"{first} UTC" if first == last else f"{first} to {last} UTC"
        click.echo(f"{archive.lost.folder}: {len(lost)} files that no job names, {size_mb:.1f} MB, kept until {until}")
    disk.keep_reserve(Path(current_app.instance_path))


def _archive() -> Archive:
    return open_archive(current_app, "command")


def found(job_id: str) -> Job:
    """Return the job with an id."""
    job = db.session.scalar(select(Job).where(Job.id == job_id))
    if job is None:
        raise click.ClickException(f"there is no job {job_id}; `ezstems jobs list` shows them")
    return job


def state(job: Job) -> str:
    """Return the job's state as its operator sees it."""
    return f"{job.status}, expired" if job.expired_at else job.status
