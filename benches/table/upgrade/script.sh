#!/bin/sh
# Replaces the nodes of a pool as one would with kubectl alone. For each node: makes its replacement, waits until that is
# Ready, drains the node and deletes it. So many are in process at once; as soon as one is done the next begins.
#
# usage: script.sh <pool> <nodes> <at once> <old version> <new version>
# KUBECTL is the program, MANIFEST a node whose name and version are NAME and VERSION.
set -eu
if [ "$1" = one ]; then
  new=$2-$5-$3 old=$2-$4-$3
  sed "s/NAME/$new/g; s/VERSION/$5/g" "$MANIFEST" | "$KUBECTL" create -f - >/dev/null
  "$KUBECTL" wait --for=condition=Ready "node/$new" --timeout=5m >/dev/null
  "$KUBECTL" drain "$old" --ignore-daemonsets --delete-emptydir-data --timeout=5m >/dev/null 2>&1
  "$KUBECTL" delete node "$old" >/dev/null
  exit
fi
seq 1 "$2" | xargs -P "$3" -I{} sh "$0" one "$1" {} "$4" "$5"
