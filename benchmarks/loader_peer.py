"""The peer of the benchmark of reading: PyTorch's DataLoader.

Runs as a program in a Python of its own, with torch, NumPy, PyAV and OpenCV.
It says that it is ready, then reads a number of batches for every line that it
reads, and answers each with the seconds that it took. Clips are 16 frames
spread over the film and drawn anew each time, of 224 x 224, float32
[C, T, H, W] with ImageNet's mean and deviation, as VideoMAE's recipe has them.

`mp4` decodes the film up to the last frame that is wanted, converts those
wanted alone, brings their shorter side to 224 and cuts the middle; `jpeg`
decodes the JPEGs of those wanted, by OpenCV with libjpeg-turbo, which is faster
than Pillow, cuts the square about the face and brings it to 224; `jpeg-uint8`
leaves the rest to the model.
"""

import argparse
import json
import pathlib
import sys
import time

import av
import cv2
import numpy as np
import torch

FRAMES, SIZE = 16, 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of a stored crop, the part that is shown to the model.
SHOWN = 1.3 / 1.5


class Clips(torch.utils.data.Dataset):
  """Clips of films, or of folders of JPEGs."""

  def __init__(self, paths, kind):
    self.paths, self.kind = paths, kind

  def __len__(self):
    return len(self.paths)

  def __getitem__(self, number):
    read = read_film if self.kind == 'mp4' else read_folder
    pictures = read(self.paths[number])
    clip = torch.from_numpy(np.stack(pictures))
    return clip if self.kind == 'jpeg-uint8' else normalize(clip)


def choose(count: int) -> list[int]:
  place = np.random.random(FRAMES)
  return ((np.arange(FRAMES) + place) * count / FRAMES).astype(int).tolist()


def read_film(path: str) -> list[np.ndarray]:
  with av.open(path) as container:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    wanted = choose(stream.frames)
    made, last = {}, wanted[-1]
    for number, frame in enumerate(container.decode(stream)):
      if number in wanted:
        made[number] = cut_middle(frame.to_ndarray(format='rgb24'))
      if number == last:
        break
  return [made[number] for number in wanted]


def cut_middle(picture: np.ndarray) -> np.ndarray:
  scale = SIZE / min(picture.shape[:2])
  size = [round(side * scale) for side in picture.shape[1::-1]]
  small = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
  top, left = ((side - SIZE) // 2 for side in small.shape[:2])
  return small[top : top + SIZE, left : left + SIZE]


def read_folder(path: str) -> list[np.ndarray]:
  files = sorted(pathlib.Path(path).iterdir())
  wanted = choose(len(files))
  made = {n: cut_face(cv2.imread(str(files[n]), RGB)) for n in set(wanted)}
  return [made[number] for number in wanted]


RGB = cv2.IMREAD_COLOR_RGB


def cut_face(picture: np.ndarray) -> np.ndarray:
  side = round(SHOWN * min(picture.shape[:2]))
  top, left = ((length - side) // 2 for length in picture.shape[:2])
  square = picture[top : top + side, left : left + side]
  return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def normalize(clip: torch.Tensor) -> torch.Tensor:
  """uint8 [T, H, W, C] to float32 [C, T, H, W]."""
  mean, deviation = (
    torch.tensor(values)[:, None, None, None] for values in (MEAN, DEVIATION)
  )
  values = clip.permute(3, 0, 1, 2).contiguous().float()
  return values.div_(255).sub_(mean).div_(deviation)


def main() -> None:
  args = read_arguments()
  start_worker()
  dataset = Clips(json.loads(args.paths.read_text()), args.kind)
  # One epoch without an end, so that no worker has to start again.
  sampler = torch.utils.data.RandomSampler(
    dataset, replacement=True, num_samples=1 << 40
  )
  loader = torch.utils.data.DataLoader(
    dataset,
    batch_size=args.batch_size,
    sampler=sampler,
    num_workers=args.workers,
    worker_init_fn=start_worker,
  )
  batches = iter(loader)
  batch = next(batches)
  say(
    {
      'torch': torch.__version__,
      'av': av.__version__,
      'cv2': cv2.__version__,
      'shape': batch.shape,
      'dtype': str(batch.dtype),
    }
  )
  for _ in sys.stdin:
    began = time.perf_counter()
    for _ in range(args.batches):
      next(batches)
    say({'seconds': time.perf_counter() - began})


def start_worker(number: int = 0) -> None:
  del number
  cv2.setNumThreads(1)
  torch.set_num_threads(1)


def say(answer) -> None:
  print(json.dumps(answer), flush=True)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    '--kind', choices=('mp4', 'jpeg', 'jpeg-uint8'), required=True
  )
  parser.add_argument('--paths', type=pathlib.Path, required=True)
  parser.add_argument('--batch-size', type=int, default=8)
  parser.add_argument('--batches', type=int, default=8)
  parser.add_argument('--workers', type=int, default=0)
  return parser.parse_args()


if __name__ == '__main__':
  main()
