from .asha import AshaScheduler as AshaScheduler
from .protocol import AnswersDuplicates as AnswersDuplicates
from .protocol import HasMilestones as HasMilestones
from .protocol import Replayable as Replayable
from .table import SCHEDULERS as SCHEDULERS
from .table import SEVERAL_OBJECTIVES as SEVERAL_OBJECTIVES
