"""Distances of `spf_json`, from standard input, against those that networkx finds."""

import json
import sys

import networkx

graphs = nodes = unreachable = 0
for line in sys.stdin:
    given = json.loads(line)
    graph = networkx.MultiGraph()
    graph.add_nodes_from(range(given["nodes"]))
    graph.add_weighted_edges_from(given["links"])
    found = networkx.single_source_dijkstra_path_length(graph, 0)
    expected = [found.get(node) for node in range(given["nodes"])]
    if expected != given["distances"]:
        sys.exit(f"graph {graphs + 1}: networkx finds {expected} in {line}")
    graphs += 1
    nodes += len(expected)
    unreachable += expected.count(None)

if not graphs or not unreachable:
    sys.exit("there was nothing to compare, or every node could be reached")
print(f"{graphs} graphs, {nodes} distances, {unreachable} of them without a way: all as networkx {networkx.__version__} finds them")
