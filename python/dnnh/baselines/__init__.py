"""The shallow hashing methods that the two papers compare with: from features to codes."""

from dnnh.baselines.base import Hasher
from dnnh.baselines.bdnn import SHBDNN, UHBDNN
from dnnh.baselines.bre import BRE
from dnnh.baselines.itq import ITQ, ITQCCA
from dnnh.baselines.ksh import KSH
from dnnh.baselines.lsh import LSH
from dnnh.baselines.mlh import MLH
from dnnh.baselines.sdh import SDH
from dnnh.baselines.sh import SH

METHODS: dict[str, type[Hasher]] = {
    method.name: method for method in (LSH, SH, ITQ, UHBDNN, ITQCCA, BRE, MLH, KSH, SDH, SHBDNN)
}
