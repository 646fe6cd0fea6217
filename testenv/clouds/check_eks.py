"""Checks what Belay asked EKS for by the model of EKS that the aws command line has. Usage: check_eks.py EXCHANGES..."""

import json
import re
import sys

from awscli.botocore import session
from awscli.botocore.validate import ParamValidator

MODEL = session.get_session().get_service_model("eks")
OPERATIONS = [MODEL.operation_model(name) for name in MODEL.operation_names]


def operation_of(method, path):
    """The operation of a request, and what of its input the path has."""
    for operation in OPERATIONS:
        uri = operation.http["requestUri"].split("?")[0]
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(uri))
        found = re.fullmatch(pattern, path)
        if found and operation.http["method"] == method:
            return operation, found.groupdict()
    raise SystemExit(f"{method} {path}: EKS has no such operation")


def main():
    counts, wrong = {}, []
    for name in sys.argv[1:]:
        for line in open(name, encoding="utf-8"):
            exchange = json.loads(line)
            if not exchange["path"].startswith("/clusters/"):
                continue
            operation, in_path = operation_of(exchange["method"], exchange["path"])
            counts[operation.name] = counts.get(operation.name, 0) + 1
            # The members of an input that the path has are named otherwise in it.
            members = operation.input_shape.members
            at = {member.serialization.get("name", key): key for key, member in members.items()}
            asked = dict(exchange["request"] or {})
            asked.update({at[key]: value for key, value in in_path.items()})
            unknown = set(asked) - set(members)
            report = ParamValidator().validate(asked, operation.input_shape)
            if unknown or report.has_errors():
                wrong.append(f"{operation.name}: {sorted(unknown)} {report.generate_report()}")
    for name, count in sorted(counts.items()):
        print(f"  {count:5} {name}")
    if wrong or "UpdateNodegroupConfig" not in counts or "CancelUpdate" not in counts:
        raise SystemExit("\n".join(wrong) or f"too little was asked for: {counts}")


main()
