"""Slow twins: the papers' formulas once more, in plain Python numbers, one entry at a time."""

import math
from itertools import permutations


def softmax(row):
    top = max(row)
    powers = [math.exp(value - top) for value in row]
    return [power / sum(powers) for power in powers]


def label_confidence(logits, labels):
    return [softmax(row)[label] for row, label in zip(logits, labels, strict=True)]


def discrepancy_ratio(scores):
    ratios = {}
    for name, score in scores.items():
        others = [scores[other] for other in scores if other != name]
        ratios[name] = sum(score / other for other in others) / len(others)
    return ratios


def linear(features, weight, bias):
    """One row of concatenated features through a linear head."""
    return [
        sum(f * w for f, w in zip(features, row, strict=True)) + b
        for row, b in zip(weight, bias, strict=True)
    ]


def shapley_by_orders(names, value):
    """The mean over all orders of arrival of what each one adds: the definition, not the sum."""
    shares = dict.fromkeys(names, 0.0)
    orders = list(permutations(names))
    for order in orders:
        present = frozenset()
        for name in order:
            shares[name] += value[present | {name}] - value[present]
            present |= {name}
    return {name: share / len(orders) for name, share in shares.items()}


def normal_cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def abnormal(weight, bias, threshold, criterion):
    pairs = zip(weight, bias, strict=True)
    if criterion == "pair":
        return [abs(g) < threshold and abs(b) < threshold for g, b in pairs]
    return [abs(g) < threshold for g, _ in pairs]


def dead_rate(activations):
    """activations[n][c] is the list of one feature map's entries."""
    channels = range(len(activations[0]))
    return [
        sum(all(entry <= 0 for entry in example[c]) for example in activations) / len(activations)
        for c in channels
    ]


def mean_and_std(values):
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def cosine(one, other):
    product = math.fsum(a * b for a, b in zip(one, other, strict=True))
    lengths = [math.sqrt(math.fsum(a * a for a in vector)) for vector in (one, other)]
    return product / (lengths[0] * lengths[1]) if all(lengths) else math.nan


def magnitude_shares(values):
    whole = math.fsum(abs(value) for value in values.values())
    return {name: abs(value) / whole if whole else math.nan for name, value in values.items()}
