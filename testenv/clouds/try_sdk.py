"""Scales a node pool by Microsoft's SDK, aborts that, and prints what was seen as JSON."""

import json
import os

from azure.identity import ClientSecretCredential
from azure.mgmt.containerservice import ContainerServiceClient

env = os.environ
base = env["FAKE"]
credential = ClientSecretCredential(
    env["TENANT"], env["CLIENT"], env["SECRET"], authority=base, disable_instance_discovery=True
)
client = ContainerServiceClient(
    credential,
    env["SUBSCRIPTION"],
    base_url=base,
    credential_scopes=[base + "/.default"],
    polling_interval=1,
)
AT = ("rg1", "demo", "np1")


def latest():
    return client.operation_status_result.get_by_agent_pool(*AT, "latest")


pool = client.agent_pools.get(*AT)
pool.properties.count = 5
client.agent_pools.begin_create_or_update(*AT, pool)
before = latest()
client.agent_pools.begin_abort_latest_operation(*AT).result()
seen = {
    "before": before.status,
    "percent": before.percent_complete,
    "after": latest().status,
    "state": client.agent_pools.get(*AT).properties.provisioning_state,
}
print(json.dumps(seen))
