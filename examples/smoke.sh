#!/usr/bin/env bash
# A first try of Belay on a real account: `make smoke-aks` and `make smoke-eks` run it. It starts a control plane and an
# operator here, adopts CLUSTER, begins to scale POOL up by one node, aborts that, and scales POOL back. It changes nothing
# else, and everything that it started here ends with it.
set -euo pipefail

cloud=$1
programs=$2

say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*" >&2 && "$@"; }
fail() { echo "smoke: $*" >&2 && exit 1; }

case $cloud in
  azure) needed="AZURE_SUBSCRIPTION_ID RESOURCE_GROUP CLUSTER POOL AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET"
    secret="AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET" ;;
  aws) needed="AWS_REGION CLUSTER POOL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"
    secret="AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN" ;;
esac
for name in $needed; do
  [ -n "${!name:-}" ] || fail "set $needed; $name is missing. docs/$cloud.md says what each is"
done
[ "${YES:-}" = 1 ] || fail "this scales node pool $POOL of cluster $CLUSTER up by one node and back: set YES=1 to have it done"

folder=$(mktemp -d)
end() {
  # shellcheck disable=SC2046 # Each is one process.
  kill $(jobs -p) 2>/dev/null || true
  wait
  echo "logs: $folder"
}
trap end EXIT

say "A control plane and an operator, here"
export KUBECONFIG=$folder/kubeconfig PATH=$programs:$PATH
testenv up --kubeconfig "$KUBECONFIG" >"$folder/control-plane.log" 2>&1 &
for _ in $(seq 120); do [ -s "$KUBECONFIG" ] && break || sleep 1; done
PATH=$(dirname "$(testenv path kubectl)"):$PATH
kubectl apply -f crds/ -f policies/ >/dev/null
kubectl wait --for=condition=Established --timeout=2m -f crds/ >/dev/null
export BELAY_AWS_LOOK_SECONDS=5 BELAY_AZURE_LOOK_SECONDS=5
belay >"$folder/belay.log" 2>&1 &

say "Adopt $CLUSTER"
for name in $secret; do
  [ -z "${!name:-}" ] || printf '%s=%s\n' "$name" "${!name}"
done | kubectl create secret generic cloud --from-env-file=/dev/stdin
case $cloud in
  azure) adopt=(kubectl belay adopt azure "$CLUSTER" --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$RESOURCE_GROUP") ;;
  aws) adopt=(kubectl belay adopt aws "$CLUSTER" --region "$AWS_REGION") ;;
esac
run "${adopt[@]}" --credentials-secret cloud >"$folder/manifests.yaml"
cat "$folder/manifests.yaml"
run kubectl apply -f "$folder/manifests.yaml"
run kubectl wait managedclusters,agentpools --all --for=condition=Ready --timeout=5m
[ -z "$(kubectl get operations -o name)" ] || fail "adopting it began operations: $(kubectl get operations)"
count=$(kubectl get agentpool "$POOL" -o jsonpath='{.spec.count}')

say "Scale $POOL from $count to $((count + 1)), and abort that"
run kubectl scale agentpool "$POOL" --replicas=$((count + 1))
for _ in $(seq 60); do
  operation=$(kubectl get operations -o name)
  [ -n "$operation" ] && break || sleep 1
done
run kubectl wait "$operation" --for=jsonpath='{.status.steps[0].handle}' --timeout=5m
began=$(date +%s)
run kubectl annotate "$operation" belay.dev/abort="a first try"
case $cloud in
  azure) run kubectl wait "$operation" --for=jsonpath='{.status.phase}'=Canceled --timeout=30m ;;
  aws) run kubectl wait "$operation" --for=jsonpath='{.status.cancellation.status}'=Failed --timeout=1m
    kubectl get "$operation" -o jsonpath='{.status.cancellation.reason}{"\n"}'
    run kubectl wait "$operation" --for=jsonpath='{.status.phase}'=Succeeded --timeout=30m ;;
esac
echo "after $(($(date +%s) - began)) s"

say "Scale $POOL back to $count"
run kubectl scale agentpool "$POOL" --replicas="$count"
run kubectl wait agentpool "$POOL" --for=jsonpath='{.status.readyCount}'="$count" --timeout=30m
run kubectl wait managedclusters,agentpools --all --for=condition=Ready --timeout=30m
run kubectl get managedclusters,agentpools,operations

say "It works with this account. Nothing is left of it there"
