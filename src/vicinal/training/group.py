"""`Group`: runs that are stepped together, and what became of those that failed."""

from __future__ import annotations

from collections.abc import Sequence

from vicinal.distillation import Answers, Need, TeacherAnswers, objective_needs
from vicinal.errors import VicinalError
from vicinal.inputs import VicinalBatch
from vicinal.training.learner import Learner
from vicinal.training.parallel import Parallel
from vicinal.training.state import Phase, TrainingData
from vicinal.workspace import EpochListener


class Group:
    """Runs that share teacher and input stream, at one step. One that fails leaves the group, and the others go on."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners, self.started = list(learners), tuple(learners)
        self.failures: list[VicinalError] = []
        self.needs: frozenset[Need] = frozenset()  # of this phase

    @property
    def lead(self) -> Learner:
        """Any of them, where all are alike. Raises IndexError where none is left."""
        return self.learners[0]

    @property
    def seconds(self) -> float:
        """Of training, over those that are left."""
        return sum(learner.state.seconds for learner in self.learners)

    def fail(self, learner: Learner, error: VicinalError) -> None:
        """Go on without one that failed."""
        self.learners.remove(learner)
        self.failures.append(error)

    def know_precision(self, precision: str) -> None:
        """Keep with every run in which precision its teacher predicts, for checkpoint and summary."""
        for learner in self.learners:
            learner.state.teacher_precision = precision

    def agree_on_precision(self, parallel: Parallel) -> None:
        """Train each in the precision of the main process, whatever processors the others have."""
        chosen = parallel.agree([learner.state.precision for learner in self.learners])
        for learner, precision in zip(self.learners, chosen, strict=True):
            learner.state.precision = precision

    def know_features(self, answers: Answers) -> None:
        """Tell every run that learns from the teacher's features how many there are."""
        for learner in self.learners:
            learner.teacher_features = answers.feature_count(objective_needs(learner.run.objective))

    def enter(self, phase: Phase) -> None:
        """Begin, or continue, a phase."""
        for learner in self.learners:
            learner.enter(phase)
        self.needs = frozenset(need for learner in self.learners for need in learner.needs)

    def begin_epoch(self, phase: Phase) -> None:
        """Train mode, which the look at the selection images ended."""
        for learner in self.learners:
            learner.train_mode(phase)

    def learn(
        self,
        batch: VicinalBatch,
        answers: TeacherAnswers,
        phase: Phase,
        epoch: float,
        images: int,
        rows_of_each: int = 1,
    ) -> None:
        """A step of each on (its process's rows of) a batch of so many images, at a point of the phase in epochs."""
        for learner in self.learners:
            learner.learn(batch, answers, phase, epoch, images, rows_of_each)

    def end_epoch(
        self, phase: Phase, epoch: int, data: TrainingData, speed: float, tell: EpochListener = lambda *_: None
    ) -> None:
        """Look at the selection images where it is time to, log the epoch at so many images a second, keep the best weights.

        Args:
            tell: told the line of each run's log.
        """
        for learner in self.learners:
            entry = learner.end_epoch(phase, epoch, data, speed)
            tell(learner.folder.path.name, learner.run.model_dump(mode="json"), entry)

    def finish(self, train_images: int, without_partner: float | None = None) -> None:
        """Leave the weights of those that are left; `without_partner` as `VicinalPlan.share_without_partner`."""
        for learner in list(self.learners):
            try:
                learner.finish(train_images, len(self.started), without_partner)
            except VicinalError as error:
                self.fail(learner, error)
