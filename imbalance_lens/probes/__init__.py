"""One probe per file; the file's name is the probe's public name."""

from ..registry import Registry

PROBES = Registry(package=__name__, attribute="PROBE", kind="probe")
