"""The detectors of applications and job classes: what comes with the program, and the files of the site.

Files of the site are read again when they change. A file of the site takes the place of what has its tag: an empty
pattern file ends the search for an application, a rule that is `false` ends a job class.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cc_backend.clusters.model import MetricConfig
from cc_backend.model import Job
from cc_backend.taggers.application_list import ApplicationList, shipped_applications
from cc_backend.taggers.classify_job import JobClass, classify_job
from cc_backend.taggers.detect_applications import detect_applications
from cc_backend.taggers.pattern_files import PatternFile, read_pattern_file
from cc_backend.taggers.rule_files import PARAMETERS, Rule, read_parameters, read_rules, shipped_rule_files
from cc_backend.taggers.tagger_folder import TaggerFile, TaggerFolder

APPLICATION_TAGS = "app"
CLASS_TAGS = "jobClass"
"""Types of the tags that detectors give."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the files said when they were read."""

    fingerprint: object
    applications: ApplicationList
    patterns: Sequence[PatternFile]
    rules: Sequence[Rule]


class Detectors:
    """Finds applications and job classes; for any number of threads.

    Without `shipped_applications` or `shipped_rules` only the files of the site count.
    """

    def __init__(
        self,
        *,
        applications: TaggerFolder,
        rules: TaggerFolder,
        with_shipped_applications: bool = True,
        with_shipped_rules: bool = True,
    ) -> None:
        self._application_folder = applications
        self._rule_folder = rules
        self._with_shipped_applications = with_shipped_applications
        self._with_shipped_rules = with_shipped_rules
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def applications_of(self, meta_data: Mapping[str, str] | None) -> tuple[str, ...]:
        """The sorted tags of the applications of a job, by its meta data; nothing after a defect, which is logged."""
        loaded = self._load()
        try:
            return detect_applications(meta_data or {}, loaded.applications, loaded.patterns)
        except Exception:  # one script that triggers a defect must not keep its job from being stored
            logger.exception("detecting applications met a defect")
            return ()

    def classes_of(self, job: Job, metrics: Mapping[str, MetricConfig]) -> list[JobClass]:
        """The classes of a finished job with statistics, by the metrics of its subcluster."""
        return classify_job(job, metrics, self._load().rules)

    def reload(self) -> bool:
        """Read the files of the site again if they have changed, and log what is wrong with them; whether they had."""
        with self._lock:
            fingerprint = self._fingerprint()
            if self._loaded is not None and self._loaded.fingerprint == fingerprint:
                return False
            self._loaded = self._read(fingerprint)
        logger.info(
            "took over taggers applications=%d pattern_files=%d rules=%d",
            len(self._loaded.applications.applications),
            len(self._loaded.patterns),
            len(self._loaded.rules),
        )
        return True

    def _load(self) -> _Loaded:
        if self._loaded is None:
            self.reload()
        assert self._loaded is not None  # noqa: S101 for the type checker: reload sets it
        return self._loaded

    def _fingerprint(self) -> object:
        return self._application_folder.fingerprint(), self._rule_folder.fingerprint()

    def _read(self, fingerprint: object) -> _Loaded:
        patterns = self._read_patterns()
        replaced = {file.tag for file in patterns}
        shipped = shipped_applications() if self._with_shipped_applications else []
        known = ApplicationList.of(application for application in shipped if application.tag not in replaced)
        return _Loaded(fingerprint, known, patterns, self._read_rules())

    def _read_patterns(self) -> list[PatternFile]:
        files, faults = self._application_folder.read()
        found = []
        for file in files:
            patterns, wrong = read_pattern_file(file)
            faults += wrong
            if patterns is not None:
                found.append(patterns)
        _log(faults, "application patterns")
        return found

    def _read_rules(self) -> list[Rule]:
        shipped = shipped_rule_files()
        parameters = next((read_parameters(file)[0] for file in shipped if file.name == PARAMETERS), {})
        own, faults = self._rule_folder.read()
        before: list[TaggerFile] = shipped if self._with_shipped_rules else []
        # parameters.json of the site applies to the rules of the program as well
        rules, wrong = read_rules([*before, *own], parameters)
        _log([*faults, *wrong], "job classes")
        return rules


def _log(faults: Sequence[str], subject: str) -> None:
    for fault in faults:
        logger.warning("%s: %s", subject, fault)
