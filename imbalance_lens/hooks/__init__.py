"""The only place that touches a running model: hooks, patches, frozen passes, schedules."""
