"""The guided tour: three agents, one code base, a conflict, a queue, and the past."""
