"""Tests of the mount, each on a real one."""
