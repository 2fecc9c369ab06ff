"""The methods that the two papers compare with: vectors in, codes out."""

from dnnh.baselines.itq import ITQ, ITQCCA
from dnnh.baselines.ksh import KSH
from dnnh.baselines.lsh import LSH
from dnnh.baselines.sdh import SDH
from dnnh.baselines.sh import SH

METHODS = {method.__name__.lower(): method for method in (LSH, SH, ITQ, ITQCCA, KSH, SDH)}
