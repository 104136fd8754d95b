"""Small corpora in the real layouts, made from seeds.

A face moved by action units and a voice from a source-filter model show the
emotion of a clip with stated probabilities; `oracle` tells the best score that
this evidence allows.
"""

from avemo.simulate.bayes import oracle
from avemo.simulate.corpus import simulate

__all__ = ['oracle', 'simulate']
