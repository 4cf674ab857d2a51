# SPDX-License-Identifier: Apache-2.0
"""A strict reader of Prometheus' text format, for tests.

Source: https://prometheus.io/docs/instrumenting/exposition_formats
"""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Metrics:
    """types[family], and values[(name, frozenset of labels)]."""

    def __init__(self, text):
        assert text.endswith("\n")
        self.types, self.values = {}, {}
        helped, family = set(), None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name, words = line[7:].split(" ", 1)
                assert re.fullmatch(NAME, name) and words and name not in helped, line
                helped.add(name)
            elif line.startswith("# TYPE "):
                family, kind = line[7:].split(" ")
                assert kind in ENDINGS and family in helped and family not in self.types, line
                self.types[family] = kind
            else:
                self._sample(line, family)
        self._check_histograms()

    def _sample(self, line, family):
        found = SAMPLE.fullmatch(line)
        assert found, f"no sample: {line}"
        name, text, value = found.groups()
        assert name in {family + end for end in ENDINGS[self.types[family]]}, f"{line} stands in the family {family}"
        labels = LABEL.findall(text or "")
        assert sum(len(f'{n}="{v}",') for n, v in labels) == (len(text) + 1 if text else 0), f"labels of {line}"
        assert len({n for n, _ in labels}) == len(labels), f"a label comes twice: {line}"
        key = name, frozenset((n, re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], v)) for n, v in labels)
        assert key not in self.values, f"comes twice: {line}"
        self.values[key] = float(value)
        if self.types[family] != "gauge":
            assert float(value) >= 0, line

    def _check_histograms(self):
        for (name, labels), count in self.values.items():
            family = name.removesuffix("_count")
            if self.types.get(family) != "histogram" or family == name:
                continue
            buckets = sorted((float(dict(more)["le"]), value) for (other, more), value in self.values.items()
                             if other == family + "_bucket" and {p for p in more if p[0] != "le"} == labels)
            counts = [value for _, value in buckets]
            assert counts == sorted(counts) and buckets[-1] == (float("inf"), count), (family, labels, buckets, count)
            assert (family + "_sum", labels) in self.values, family

    def get(self, name, **labels):
        """Sum over the samples that have these labels."""
        found = [v for (n, have), v in self.values.items() if n == name and set(labels.items()) <= set(have)]
        assert found, f"there is no {name} with {labels}"
        return sum(found)

    def labels(self):
        return {value for _, labels in self.values for _, value in labels}
