"""`imbalance-lens anatomy`: who is who in a model."""

from __future__ import annotations

import dataclasses

import click

from ._answers import answers, json_text
from ._objects import loader_from, model_from
from ._options import as_json, the_data, the_model


@click.command("anatomy")
@the_model
@the_data
@as_json
@answers
def anatomy(model_name: str, data_name: str, as_json: bool) -> str:
    """Find the encoders, the fusion and the head of a model.

    The first batch goes through the model; what flows where tells who is who. The last lines
    show what to write where the answer is wrong.
    """
    from ..anatomy import explain, find_anatomy
    from ..loaders import pairs

    model = model_from(model_name)
    inputs, _ = next(pairs(loader_from(data_name), name=data_name))
    found = find_anatomy(model, inputs)
    if as_json:
        return json_text({f.name: getattr(found, f.name) for f in dataclasses.fields(found)})
    return str(explain(found, model))


COMMAND = anatomy
