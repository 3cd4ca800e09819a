from .choice import CANDIDATES as CANDIDATES
from .choice import plan_confirmation as plan_confirmation
from .comparison import compare as compare
from .race import Race as Race
from .race import repeat_id as repeat_id
