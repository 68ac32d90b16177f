"""Tests of `ezstems/webhooks`."""
