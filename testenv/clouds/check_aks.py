"""Checks what Belay wrote to AKS by the models of Microsoft's SDK. Usage: check_aks.py EXCHANGES..."""

import json
import re
import sys

from azure.mgmt.containerservice import models


def model_in(hint):
    """The model that a type such as Optional[list[Model]] names, where it names one."""
    named = re.search(r"_models\.(\w+)", repr(hint))
    return getattr(models, named[1]) if named else None


def unknown(body, model, path):
    """The fields of a body that its model doesn't have."""
    if isinstance(body, list):
        return [each for part in body for each in unknown(part, model, path)]
    if not isinstance(body, dict):
        return []
    model()  # The first instance fills in what fields there are.
    fields = {field._rest_name: name for name, field in model._attr_to_rest_field.items()}
    hints = {}
    for each in reversed(model.__mro__):
        hints.update(getattr(each, "__annotations__", {}))
    found = []
    for key, value in body.items():
        if key not in fields:
            found.append(f"{path}.{key}")
            continue
        inner = model_in(hints.get(fields[key]))
        if inner:
            found += unknown(value, inner, f"{path}.{key}")
    return found


def main():
    counts, wrong = {}, set()
    for name in sys.argv[1:]:
        for line in open(name, encoding="utf-8"):
            exchange = json.loads(line)
            if exchange["method"] != "PUT":
                continue
            model = models.AgentPool if "/agentPools/" in exchange["path"] else models.ManagedCluster
            counts[model.__name__] = counts.get(model.__name__, 0) + 1
            wrong.update(unknown(exchange["request"], model, model.__name__))
    for name, count in sorted(counts.items()):
        print(f"  {count:5} PUT of {name}")
    if wrong or set(counts) != {"AgentPool", "ManagedCluster"}:
        raise SystemExit("\n".join(sorted(wrong)) or f"too little was written: {counts}")


main()
