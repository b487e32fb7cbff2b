"""What the agent reports about this machine is what the backend reads."""

import json
from pathlib import Path

from cc_agent.cluster_file import describe_cluster
from cc_agent.node_report import make_report
from cc_agent.options import AgentOptions
from cc_agent.preview import sample_once
from cc_agent.settings import load_configuration
from cc_backend.clusters import propose_cluster
from cc_backend.clusters.load import parse_cluster
from cc_backend.jobs.node_reports import parse_report


def test_the_backend_reads_the_report_of_this_machine_and_proposes_a_cluster_of_it() -> None:
    configuration = load_configuration(AgentOptions(hostname="n01", cluster="demo"), {})
    statuses = sample_once(configuration, root=Path("/"), sleep=lambda _: None).statuses
    sent = json.dumps(make_report("demo", "n01", statuses, describe_cluster(configuration).document))
    report = parse_report(json.loads(sent))
    assert {collector.name for collector in report.collectors} >= {"cpustat", "memstat"}
    assert report.description is not None
    proposal = propose_cluster([("report", parse_cluster(report.description, source="report")[0])])
    assert (proposal.document["name"], proposal.document["subClusters"][0]["nodes"]) == ("demo", "n01")
