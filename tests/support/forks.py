"""Processes that tests let die, forked from one without threads: no fork takes another thread's lock along."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.operations.test_migrations", "tests.operations.test_restore"])
