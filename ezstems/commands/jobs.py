"""`ezstems jobs`: what was uploaded, and what became of it."""

from pathlib import Path

import click
from flask import current_app
from sqlalchemy import select

from ezstems.commands import table, with_app
from ezstems.database import db
from ezstems.jobs import retention
from ezstems.jobs.archive import Archive
from ezstems.models import STATES, Job


@click.group()
def jobs() -> None:
    """Look after jobs."""


@jobs.command("list")
@click.option("--status", type=click.Choice(STATES), help="Only the jobs in this state.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@with_app
def list_jobs(status: str | None, limit: int) -> None:
    """List jobs, the newest first."""
    query = select(Job).order_by(Job.number.desc()).limit(limit)
    rows = db.session.scalars(query.where(Job.status == status) if status else query)
    table(
        [
            (j.id, j.user.email, state(j), f"{j.progress}%", j.model, j.size_bytes, j.created_at, j.original_name)
            for j in rows
        ],
        *("ID", "EMAIL", "STATUS", "PROGRESS", "MODEL", "BYTES", "CREATED (UTC)", "FILE"),
    )


@jobs.command()
@click.argument("job_id", metavar="ID")
@with_app
def show(job_id: str) -> None:
    """Show everything about a job."""
    job = found(job_id)
    for column in Job.__table__.columns:
        click.echo(f"{column.name:14} {'' if (value := getattr(job, column.name)) is None else value}".rstrip())
    click.echo(f"{'email':14} {job.user.email}")


@jobs.command()
@click.argument("job_id", metavar="ID")
@with_app
def retry(job_id: str) -> None:
    """Put a failed job back into the queue; a running server takes it within seconds."""
    job = found(job_id)
    if not Job.retry(job.number):
        raise click.ClickException(f"job {job_id} is {state(job)}; only a failed job whose file is kept can be retried")
    click.echo(f"job {job_id} is queued again")


@jobs.command()
@with_app
def prune() -> None:
    """Delete the files of jobs past their retention now."""
    archive = Archive(Path(current_app.instance_path), "prune")
    click.echo(f"{retention.sweep(archive, current_app.config['EZSTEMS_RETENTION_HOURS'])} jobs expired")


def found(job_id: str) -> Job:
    """Return the job with an id."""
    job = db.session.scalar(select(Job).where(Job.id == job_id))
    if job is None:
        raise click.ClickException(f"there is no job {job_id}; `ezstems jobs list` shows them")
    return job


def state(job: Job) -> str:
    """Return the job's state as its operator sees it."""
    return f"{job.status}, expired" if job.expired_at else job.status
