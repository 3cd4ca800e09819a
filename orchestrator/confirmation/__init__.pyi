from .choice import CANDIDATES as CANDIDATES
from .choice import plan_confirmation as plan_confirmation
from .comparison import compare as compare
from .comparison import most_likely_best as most_likely_best
from .posterior import true_scores as true_scores
from .race import Race as Race
from .race import repeat_id as repeat_id
