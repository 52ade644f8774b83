"""Train the English-French model on a CPU: `python train.py CORPUS --work FOLDER [--epochs N] [--minutes M]`.

Stop it whenever you like: it goes on from the last state in the work folder. The checkpoint written at the end (and at
every validation) holds an exponential moving average of the weights, in half precision.
"""

import argparse
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import pad_sequence

from corpus import Pair, Split, read_pairs, split
from network import Architecture, TranslationNetwork
from tokenizer import BOS_ID, EOS_ID, PAD_ID, train_tokenizer

AVERAGE_DECAY = 0.999
CLIP_NORM = 1.0
STATE_EVERY_SECONDS = 180
REPORT_EVERY_SECONDS = 20

Example = tuple[Tensor, Tensor]


@dataclass
class Progress:
    """What a stopped run needs to go on where it was, beside the tensors."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.work.mkdir(parents=True, exist_ok=True)
    corpus = split(read_pairs(arguments.corpus))
    tokenizer = prepare_tokenizer(corpus, arguments.work / "tokenizer.json")
    train = encode_pairs(tokenizer, corpus.train)
    valid = encode_pairs(tokenizer, [Pair(s.english, s.references[0]) for s in corpus.valid])
    print(f"{len(train):,} pairs, {sum(len(t) for _, t in train):,} target tokens an epoch", flush=True)

    network = TranslationNetwork(Architecture(vocab_size=tokenizer.get_vocab_size()), arguments.dropout)
    average = TranslationNetwork(network.architecture).eval()
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    progress = resume(arguments.work / "state.pt", network, average, optimizer)
    started = time.monotonic() - progress.seconds
    saved = reported = time.monotonic()
    loss_sum, loss_count = 0.0, 0

    while progress.epoch < arguments.epochs and progress.seconds < 60 * arguments.minutes:
        batches = make_batches(train, arguments.batch_tokens, seed=arguments.seed + progress.epoch)
        for source, target in batches[progress.batch :]:
            done = fraction_done(progress, arguments, len(batches))
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = arguments.learning_rate * schedule(progress.step, done, arguments.warmup)
            loss = train_step(network, optimizer, source, target)
            update_average(average, network, progress.step)
            progress.batch += 1
            progress.step += 1
            progress.seconds = time.monotonic() - started
            loss_sum, loss_count = loss_sum + loss, loss_count + 1
            if time.monotonic() - reported > REPORT_EVERY_SECONDS:
                left = progress.seconds * (1 - done) / max(done, 1e-6)
                print(
                    f"epoch {progress.epoch + 1} batch {progress.batch}/{len(batches)} "
                    f"loss {loss_sum / loss_count:.3f} {100 * done:.1f} % eta {left / 60:.0f} min",
                    flush=True,
                )
                loss_sum, loss_count, reported = 0.0, 0, time.monotonic()
            if time.monotonic() - saved > STATE_EVERY_SECONDS:
                save_state(arguments.work / "state.pt", network, average, optimizer, progress)
                saved = time.monotonic()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        save_state(arguments.work / "state.pt", network, average, optimizer, progress)
        save_checkpoint(arguments.work / "checkpoint", average, tokenizer)
        print(f"epoch {progress.epoch} valid loss {validation_loss(average, valid):.4f}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="fra.txt, fra.txt.gz or fra-eng.zip")
    parser.add_argument("--work", type=Path, required=True, help="folder of the training state and the checkpoint")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=math.inf, help="training time after which the rate is zero")
    parser.add_argument("--batch-tokens", type=int, default=3000, help="target tokens in a batch")
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--warmup", type=int, default=800, help="steps")
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def prepare_tokenizer(corpus: Split, path: Path) -> Tokenizer:
    if not path.exists():
        texts = (text for pair in corpus.train for text in pair)
        train_tokenizer(texts, Architecture.vocab_size).save(str(path))
    return Tokenizer.from_file(str(path))


def encode_pairs(tokenizer: Tokenizer, pairs: list[Pair]) -> list[Example]:
    """Source: ids and the end of sentence. Target: start, ids, end."""
    sources = tokenizer.encode_batch_fast([pair.english for pair in pairs])
    targets = tokenizer.encode_batch_fast([pair.french for pair in pairs])
    return [(torch.tensor(s.ids), torch.tensor([BOS_ID, *t.ids])) for s, t in zip(sources, targets, strict=True)]


def make_batches(examples: list[Example], tokens: int, seed: int) -> list[Example]:
    """Padded batches of about `tokens` target tokens, sentences of like length together, in random order."""
    generator = random.Random(seed)
    order = sorted(examples, key=lambda e: (len(e[1]), len(e[0]), generator.random()))
    batches, batch = [], []
    for example in order:
        if batch and (len(batch) + 1) * max(len(example[0]), len(example[1])) > tokens:
            batches.append(batch)
            batch = []
        batch.append(example)
    batches.append(batch)
    generator.shuffle(batches)
    return [
        (
            pad_sequence([source for source, _ in batch], batch_first=True, padding_value=PAD_ID),
            pad_sequence([target for _, target in batch], batch_first=True, padding_value=PAD_ID),
        )
        for batch in batches
    ]


def fraction_done(progress: Progress, arguments: argparse.Namespace, batches: int) -> float:
    by_epochs = (progress.epoch + progress.batch / batches) / arguments.epochs
    return max(by_epochs, progress.seconds / 60 / arguments.minutes)


def schedule(step: int, done: float, warmup: int) -> float:
    """Linear warm-up over steps, then linear decay to zero at the end of the budget."""
    return min((step + 1) / warmup, 1.0) * (1.0 - done)


def train_step(network: TranslationNetwork, optimizer: torch.optim.Optimizer, source: Tensor, target: Tensor) -> float:
    network.train()
    loss = cross_entropy(network, source, target, label_smoothing=0.1)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def cross_entropy(network: TranslationNetwork, source: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
    # The fused attention's backward pass is many times slower than the plain one on sentences this short.
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        logits = network(source, target[:, :-1])
    return F.cross_entropy(
        logits.float().flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD_ID, label_smoothing=label_smoothing
    )


@torch.no_grad()
def update_average(average: TranslationNetwork, network: TranslationNetwork, step: int) -> None:
    decay = min(AVERAGE_DECAY, (step + 1) / (step + 10))
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


@torch.no_grad()
def validation_loss(network: TranslationNetwork, examples: list[Example]) -> float:
    losses = [
        (cross_entropy(network, s, t, 0.0), (t[:, 1:] != PAD_ID).sum()) for s, t in make_batches(examples, 3000, 0)
    ]
    return float(sum(loss * count for loss, count in losses) / sum(count for _, count in losses))


def save_state(
    path: Path,
    network: TranslationNetwork,
    average: TranslationNetwork,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write beside and rename, so that a killed run always leaves a whole state."""
    temporary = path.with_suffix(".tmp")
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    torch.save(state, temporary)
    temporary.replace(path)


def resume(
    path: Path, network: TranslationNetwork, average: TranslationNetwork, optimizer: torch.optim.Optimizer
) -> Progress:
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def save_checkpoint(folder: Path, network: TranslationNetwork, tokenizer: Tokenizer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", network.config())
    generation = {
        "pad_token_id": PAD_ID,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "decoder_start_token_id": BOS_ID,
        "num_beams": 4,
        "early_stopping": False,
        "length_penalty": 1.0,
    }
    write_json(folder / "generation_config.json", generation)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
