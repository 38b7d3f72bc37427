"""Every error and warning of the library: each says what was given, what is allowed, what to do."""


class ImbalanceLensError(Exception):
    """Base class of all errors that the library raises on purpose."""


class UnknownNameError(ImbalanceLensError, LookupError):
    """A probe, recipe, modality or setting was asked for by a name that does not exist."""


class SettingError(ImbalanceLensError, ValueError):
    """An argument has a value, a shape or a type that is not allowed."""


class BatchError(ImbalanceLensError, ValueError):
    """A loader gave a batch, or labels, that cannot be used."""


class DataError(ImbalanceLensError, ValueError):
    """A file of a data set is missing, damaged or cannot be fetched; the message names it."""


class AnatomyError(ImbalanceLensError, ValueError):
    """The parts of a model could not be found, or the ones given do not fit it."""


class SchemaError(ImbalanceLensError, ValueError):
    """A dataset breaks the written schema, or a file is not a report."""


class CheckpointError(ImbalanceLensError, ValueError):
    """A checkpoint could not be read safely, or does not fit the model."""


class NotAttachedError(ImbalanceLensError, RuntimeError):
    """A session was asked for something that it did not see."""


class NotApplicableError(ImbalanceLensError, ValueError):
    """A probe has no answer for this model or this data; the message is the reason."""


class TrainingError(ImbalanceLensError, RuntimeError):
    """A training cannot go on."""


class MissingPackageError(ImbalanceLensError, ImportError):
    """An optional package is needed and not installed."""


class ImbalanceLensWarning(UserWarning):
    """Base class of the library's warnings."""


class SignalBypassWarning(ImbalanceLensWarning):
    """Some of the model's input reaches the output past every encoder that was named."""


class ClashWarning(ImbalanceLensWarning):
    """Two recipes change the same thing, so neither does what its paper says."""


class NoEffectWarning(ImbalanceLensWarning):
    """A recipe will change nothing, or hardly anything, in this training."""


class NotIntendedUseWarning(ImbalanceLensWarning):
    """A recipe is used in a way that its paper does not have in mind."""
