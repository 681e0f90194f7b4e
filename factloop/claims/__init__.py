"""Claims about documents, right and wrong, made by rules: what FactCC learns from.

In: documents with their references. Out: rows of claims with labels and spans. No model, no torch.
"""

from .make import KINDS, Claim, claim_rows, make_claims
from .mentions import Mention, pattern_mentions, sentences, spacy_mentions

__all__ = ["KINDS", "Claim", "Mention", "claim_rows", "make_claims", "pattern_mentions", "sentences", "spacy_mentions"]
