"""The base: the encoder-decoder that every other model of a profile starts from.

In: text of the profile and a description of the network. Out: a model that has learned to
copy and to fill gaps, by denoising as in BART (Lewis et al. 2020): spans replaced by one mask.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import torch
from huggingface_hub import hf_hub_url, try_to_load_from_cache
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    EncoderDecoderModel,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from .pretrained import CheckpointMissing, locate
from .seq2seq import MASK, SPECIALS, Seq2Seq
from .settings import Network, TrainingSettings, Window
from .training import Progress, fit, likelihood


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learned from `texts`; any text can be written in it.

    Of the pieces that BPE learns, only the bytes and those in use once all merges are made are
    kept: half as many, and the cost of a small model's output layer with them.
    """
    names = ["<s>", "<pad>", "</s>", "<unk>", *map(str, SPECIALS)]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learned = _byte_level(models.BPE())
    learned.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=names, initial_alphabet=letters, show_progress=False)
    )
    used = Counter(token for coded in learned.encode_batch(list(texts)) for token in coded.tokens)
    kept = list(dict.fromkeys([*names, *letters, *sorted(used)]))
    # Without merges every word that is kept is one token, and any other is spelled in bytes.
    words = models.BPE(vocab={token: index for index, token in enumerate(kept)}, merges=[], ignore_merges=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(words),
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token=str(MASK),
        additional_special_tokens=[str(token) for token in SPECIALS if token != MASK],
    )


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def from_scratch(texts: Sequence[str], network: Network, window: Window, seed: int) -> Seq2Seq:
    """A BART of the given shape with random weights and a tokenizer learned from `texts`."""
    tokenizer = train_tokenizer(texts, network.vocabulary)
    torch.manual_seed(seed)
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=network.width,
        encoder_layers=network.encoder_layers,
        decoder_layers=network.decoder_layers,
        encoder_attention_heads=network.heads,
        decoder_attention_heads=network.heads,
        encoder_ffn_dim=4 * network.width,
        decoder_ffn_dim=4 * network.width,
        max_position_embeddings=max(window.source, window.target),
        dropout=0.0,
        attention_dropout=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    model = BartForConditionalGeneration(config)
    for side in (model.get_encoder(), model.get_decoder()):
        start_positions(side.embed_positions.weight)
    return Seq2Seq(model, tokenizer, window)


@torch.no_grad()
def start_positions(weight: torch.Tensor) -> None:
    """Sinusoids (Vaswani et al. 2017), at the scale of the other weights, as learned positions' start.

    Nearby positions are alike from the first step, so that a small model learns sooner what
    belongs to one clause.
    """
    count, width = weight.shape
    angle = torch.arange(count)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    weight.copy_(0.028 * torch.cat([angle.sin(), angle.cos()], 1))


def mask_spans(ids: list[int], mask: int, generator: torch.Generator, share: float = 0.3) -> list[int]:
    """`ids` with about `share` of its tokens in spans of 1 to 4, each span one mask token."""
    result: list[int] = []
    position = 0
    while position < len(ids) - 1:
        if torch.rand((), generator=generator) < share / 2.5:
            position += int(torch.randint(1, 5, (), generator=generator))
            result.append(mask)
        else:
            result.append(ids[position])
            position += 1
    return [*result, ids[-1]]


def denoise(base: Seq2Seq, texts: Sequence[str], settings: TrainingSettings, seed: int, checkpoints: Path, progress: Progress) -> None:
    """Train `base` in place to restore `texts` from masked copies."""
    limit = min(base.window.source, base.window.target)
    rows = base.ids([[text] for text in texts], limit)
    mask = base.special(MASK)
    generator = torch.Generator()

    def loss(batch: list[tuple[int, list[int]]]) -> dict[str, torch.Tensor]:
        generator.manual_seed(seed * 7919 + sum(index for index, _ in batch))
        noisy = [mask_spans(ids, mask, generator) for _, ids in batch]
        target = base.pad_batch([ids for _, ids in batch])
        logits = base.logits(base.pad_batch(noisy), target)
        return {"loss": likelihood(logits, target, base.pad, settings.label_smoothing)}

    fit(base.model, loss, list(enumerate(rows)), [len(row) for row in rows], settings, seed, checkpoints, progress)


@contextmanager
def _loading(checkpoint: str, where: str, revision: str | None = None) -> Iterator[None]:
    try:
        if not Path(where).is_dir() and not try_to_load_from_cache(where, "config.json", revision=revision):
            # The hub's own client tries for a minute to reach what is not there.
            httpx.head(hf_hub_url(where, "config.json", revision=revision), timeout=30)
        yield
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise CheckpointMissing(
            f"checkpoint {checkpoint} cannot be loaded ({' '.join(str(error).split())[:300]}): connect this machine to the network, "
            f"or set base.start.checkpoint to a folder that holds it"
        ) from None


# Trainings here see each example a few times at most; on a CPU drawing the masks takes a fifth of a step.
UNDROPPED = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def from_encoder(checkpoint: str, decoder_layers: int, window: Window, seed: int) -> Seq2Seq:
    """A pretrained encoder with a decoder that copies its layers, as in Rothe et al. 2020.

    The decoder's embeddings, self-attention and feed-forward layers are copies of evenly
    spaced layers of the encoder. Its attention to the source, which Rothe et al. start at random,
    starts as a copy of the self-attention.
    """
    where = locate(checkpoint)
    with _loading(checkpoint, where):
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        encoder = AutoModel.from_pretrained(where, use_safetensors=True, trust_remote_code=False, add_pooling_layer=False, **UNDROPPED)
    tokenizer.add_special_tokens({"additional_special_tokens": [str(token) for token in SPECIALS]})
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    torch.manual_seed(seed)
    config = copy.deepcopy(encoder.config)
    config.update({"is_decoder": True, "add_cross_attention": True, "num_hidden_layers": decoder_layers})
    decoder = AutoModelForCausalLM.from_config(config)
    inner = decoder.base_model
    inner.embeddings.load_state_dict(encoder.embeddings.state_dict())
    own = encoder.encoder.layer
    for index, layer in enumerate(inner.encoder.layer):
        layer.load_state_dict(own[index * len(own) // decoder_layers].state_dict(), strict=False)
        layer.crossattention.load_state_dict(layer.attention.state_dict())
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.sep_token_id, "decoder_start_token_id": tokenizer.cls_token_id}
    model.config.update(ids)
    model.generation_config.update(**ids)
    return Seq2Seq(model, tokenizer, window)


def from_checkpoint(checkpoint: str, revision: str, window: Window, seed: int) -> Seq2Seq:
    """A pretrained encoder-decoder with the special tokens added, their embeddings drawn by `seed`."""
    where = locate(checkpoint)
    with _loading(checkpoint, where, revision):
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
        # Safetensors, or where there are none, as for facebook/bart-large, a file that torch reads as weights only.
        model = AutoModelForSeq2SeqLM.from_pretrained(where, revision=revision, trust_remote_code=False)
    tokenizer.add_special_tokens({"additional_special_tokens": [str(token) for token in SPECIALS]})
    torch.manual_seed(seed)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    own = model.config
    # Only the ids: BART's checkpoints also force <s> first, which our targets do not have, and forbid repeated trigrams.
    model.generation_config = GenerationConfig(
        pad_token_id=own.pad_token_id, eos_token_id=own.eos_token_id, decoder_start_token_id=own.decoder_start_token_id
    )
    return Seq2Seq(model, tokenizer, window)
