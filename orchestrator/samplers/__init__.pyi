from .history import CURVES as CURVES
from .history import END_PLACE as END_PLACE
from .history import TRAININGS as TRAININGS
from .seeded import SeededSampler as SeededSampler
from .table import SAMPLERS as SAMPLERS
from .table import STATELESS as STATELESS
from .table import make_seeded as make_seeded
