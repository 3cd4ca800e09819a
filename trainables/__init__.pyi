from .built_in import TRAINABLES as TRAINABLES
from .cell_trainable import CellTrainable as CellTrainable
from .epoch_trainable import EpochTrainable as EpochTrainable
from .epoch_trainable import TrialPlan as TrialPlan
from .instant_trainable import InstantTrainable as InstantTrainable
from .network_spec import NetworkSpec as NetworkSpec
