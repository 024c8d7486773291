"""What the training minimises: CLIP's contrastive loss, and a geometry for the picture space.

Captions may be partial, so one may fit several pictures of a batch; the contrastive loss spreads
its target evenly over all that fit (Khosla et al., "Supervised Contrastive Learning", 2020).
The second term asks that the cosine of two pictures be the share of attributes they have in
common. It makes nearest neighbours meaningful and scores readable: 1.0 the same description,
0.75 one difference.
"""

import torch
from torch import Tensor, nn

_GEOMETRY_WEIGHT = 10.0  # then the term is some 3 % of the whole at the end of the training


def fits(attributes: Tensor, named: Tensor) -> Tensor:
    """Return whether picture i shows all that caption j tells, bool (N, N)."""
    equal = attributes[:, None, :] == attributes[None, :, :]
    return (equal | ~named[None, :, :]).all(dim=-1)


def contrastive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Return the symmetric cross-entropy of (N, N) logits against all positive pairs."""
    target = positive.float()
    by_image = nn.functional.cross_entropy(logits, target / target.sum(dim=1, keepdim=True))
    by_text = nn.functional.cross_entropy(logits.T, target.T / target.T.sum(dim=1, keepdim=True))
    return (by_image + by_text) / 2


def geometry_loss(images: Tensor, attributes: Tensor) -> Tensor:
    """Return the mean squared difference of cosines (N, N) from shares of equal attributes."""
    shared = (attributes[:, None, :] == attributes[None, :, :]).float().mean(dim=-1)
    off_diagonal = ~torch.eye(len(images), dtype=torch.bool, device=images.device)
    return nn.functional.mse_loss((images @ images.T)[off_diagonal], shared[off_diagonal])


def objective(images: Tensor, texts: Tensor, scale: Tensor, attributes: Tensor, named: Tensor) -> Tensor:
    """Return the training loss of normalised embeddings, both (N, D)."""
    contrastive = contrastive_loss(scale * images @ texts.T, fits(attributes, named))
    return contrastive + _GEOMETRY_WEIGHT * geometry_loss(images, attributes)
