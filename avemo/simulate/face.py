"""A speaker's looks, and the layers of the picture that never move.

The canvas is 192x240 pixels; `drawing` draws the moving features onto it and
places it before the background.
"""

import dataclasses

import cv2
import numpy as np

WIDTH, HEIGHT = 192, 240
CENTRE = (96.0, 108.0)

# Sub-pixel bits of OpenCV's drawing functions.
SHIFT = 4

# RGB. Hair must stand off from the skin, or detectors lose the face's edge.
_SKINS = (
  (242, 208, 186),
  (232, 190, 160),
  (214, 170, 138),
  (190, 142, 108),
  (166, 120, 90),
  (148, 106, 80),
)
_HAIRS = (
  (26, 22, 20),
  (58, 38, 26),
  (96, 62, 36),
  (176, 140, 84),
  (70, 68, 68),
)
_HAIR_STYLES = ('short', 'parted', 'long', 'bald')
_CLOTHES = (
  (44, 60, 96), (120, 40, 44), (50, 90, 66), (90, 90, 96), (30, 30, 34),
  (196, 196, 200), (128, 96, 60), (84, 56, 110),
)  # fmt: skip
_BACKGROUNDS = (
  (176, 184, 190), (120, 140, 120), (200, 190, 170), (90, 104, 130),
  (150, 130, 130), (70, 84, 80), (208, 210, 214),
)  # fmt: skip
_IRISES = ((70, 48, 30), (60, 86, 110), (70, 96, 70), (44, 32, 26))


@dataclasses.dataclass(frozen=True)
class Look:
  """What stays the same over all clips of a speaker; colours are RGB.

  Attributes:
    sex: 'male' or 'female'.
    age: years; deepens the lines.
    skin, hair, clothes, background, iris: colours.
    hair_style: one of short, parted, long, bald.
    width, jaw: factors on the face's width and the jaw's.
    eye_distance, eye_size, eye_height: factors, and pixels of lift.
    brow_weight, brow_height: factor, and pixels of lift.
    nose_width, nose_length: factors.
    mouth_width, lips, mouth_height: factors, and pixels of lift.
    beard: darkness of a beard, 0 none.
    light: horizontal and vertical slope of the light over the frame.
    exposure: factor on all pixels.
  """

  sex: str
  age: int
  skin: tuple
  hair: tuple
  clothes: tuple
  background: tuple
  iris: tuple
  hair_style: str
  width: float
  jaw: float
  eye_distance: float
  eye_size: float
  eye_height: float
  brow_weight: float
  brow_height: float
  nose_width: float
  nose_length: float
  mouth_width: float
  lips: float
  mouth_height: float
  beard: float
  light: tuple
  exposure: float


def draw_look(sex: str, rng: np.random.Generator) -> Look:
  """Draws a speaker's looks."""

  def colour(choices, spread):
    base = np.array(choices[rng.integers(len(choices))])
    moved = base + rng.normal(0, spread, 3) + rng.normal(0, spread)
    return tuple(int(c) for c in np.clip(moved, 8, 247))

  def factor(spread):
    return round(1 + rng.uniform(-spread, spread), 3)

  skin = colour(_SKINS, 3)
  hair = colour(_HAIRS, 4)
  if sum(skin) - sum(hair) < 170:
    hair = tuple(int(c) for c in _HAIRS[0])
  styles = _HAIR_STYLES[:3] if sex == 'female' else _HAIR_STYLES
  weights = (0.2, 0.3, 0.5) if sex == 'female' else (0.5, 0.3, 0.05, 0.15)
  beard = rng.uniform(0.12, 0.3) if rng.random() < 0.4 else 0.0
  return Look(
    sex=sex,
    age=int(rng.integers(20, 75)),
    skin=skin,
    hair=hair,
    clothes=colour(_CLOTHES, 8),
    background=colour(_BACKGROUNDS, 8),
    iris=colour(_IRISES, 4),
    hair_style=str(rng.choice(styles, p=weights)),
    width=factor(0.07),
    jaw=factor(0.1),
    eye_distance=factor(0.06),
    eye_size=factor(0.1),
    eye_height=round(rng.uniform(-2, 2), 2),
    brow_weight=factor(0.3),
    brow_height=round(rng.uniform(-1.5, 1.5), 2),
    nose_width=factor(0.15),
    nose_length=factor(0.08),
    mouth_width=factor(0.1),
    lips=factor(0.25),
    mouth_height=round(rng.uniform(-2, 2), 2),
    beard=round(beard if sex == 'male' else 0.0, 3),
    light=(round(rng.uniform(-0.16, 0.16), 3), round(rng.uniform(0, 0.12), 3)),
    exposure=round(rng.uniform(0.88, 1.08), 3),
  )


def fixed(points) -> np.ndarray:
  """Points [n, 2] in pixels as OpenCV's fixed-point integers."""
  return np.rint(np.asarray(points, float) * (1 << SHIFT)).astype(np.int32)


def fill(image, points, colour):
  """Fills a polygon, edges smooth."""
  cv2.fillPoly(image, [fixed(points)], colour, cv2.LINE_AA, SHIFT)


def outline(look: Look, jaw: float) -> np.ndarray:
  """The edge of the skin, float [64, 2], with the chin `jaw` pixels lower."""
  angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
  x, y = np.sin(angle), -np.cos(angle)
  below = np.clip(y, 0, 1)
  half = 51 * look.width * (1 - 0.16 * below**2 / look.jaw)
  squared = np.sign(x) * np.abs(x) ** 0.85
  height = np.where(y < 0, 64.0, 67.0 + jaw)
  return np.stack([CENTRE[0] + half * squared, CENTRE[1] + height * y], 1)


def draw_base(look: Look, jaw: int) -> tuple[np.ndarray, np.ndarray]:
  """Everything of the person but the moving features.

  Args:
    look: whose.
    jaw: pixels by which the chin hangs lower than at rest.

  Returns:
    uint8 [HEIGHT, WIDTH, 3] and uint8 [HEIGHT, WIDTH], 255 where the person is.
  """
  x, y = CENTRE
  hair, clothes = look.hair, look.clothes
  # What lies behind shows through at smooth edges: nothing black there.
  image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
  image[:] = look.skin if look.hair_style == 'bald' else hair
  image[int(y) + 74 :] = clothes
  person = np.zeros((HEIGHT, WIDTH), np.uint8)
  if look.hair_style == 'long':
    back = _ellipse(x, y + 22, 66 * look.width, 92)
    fill(image, back, hair)
    fill(person, back, 255)
  neck = [(x - 26, y + 40), (x + 26, y + 40), (x + 30, 240), (x - 30, 240)]
  fill(image, neck, tuple(int(0.72 * c) for c in look.skin))
  fill(person, neck, 255)
  shirt = [
    (x - 27, y + 80), (x, y + 104), (x + 27, y + 80), (x + 62, y + 93),
    (x + 90, y + 132), (x - 90, y + 132), (x - 62, y + 93),
  ]  # fmt: skip
  fill(image, shirt, clothes)
  fill(person, shirt, 255)
  if look.hair_style != 'bald':
    cap = _ellipse(x, y - 12, 58 * look.width, 66)
    fill(image, cap, hair)
    fill(person, cap, 255)
  skin = np.zeros((HEIGHT, WIDTH), np.uint8)
  edge = outline(look, jaw)
  fill(skin, edge, 255)
  for side in (-1, 1):
    fill(skin, _ellipse(x + side * 52 * look.width, y + 2, 7, 13), 255)
  person = np.maximum(person, skin)
  lit = _light_map(look)[..., None] * np.array(look.skin, np.float32)
  alpha = (skin / np.float32(255))[..., None]
  image = (image * (1 - alpha) + np.clip(lit, 0, 255) * alpha).astype(np.uint8)
  _draw_beard(image, look, edge)
  _draw_hair(image, look)
  return image, person


def _ellipse(x, y, width, height):
  angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
  return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], 1)


def _light_map(look):
  """Coarse shading of a face lit from above, float32 [HEIGHT, WIDTH]."""
  # Place, spread and strength of each highlight or shadow around the centre.
  spots = (
    (-22, -6, 15, 9, -0.20), (22, -6, 15, 9, -0.20),  # sockets
    (0, -4, 6, 24, 0.12), (0, 17, 7, 6, 0.10),  # bridge, tip
    (0, 29, 15, 4.5, -0.22), (0, 54, 18, 4.5, -0.15),  # under nose and lip
    (-27, 20, 13, 12, 0.10), (27, 20, 13, 12, 0.10),  # cheeks
    (0, -38, 30, 13, 0.12), (0, 62, 11, 7, 0.10),  # forehead, chin
    (-12, 10, 4, 16, -0.08), (12, 10, 4, 16, -0.08),  # sides of the nose
  )  # fmt: skip
  # Dark skin reflects less of the lamp and more of its surroundings, so its
  # shading is the stronger one.
  contrast = 1.15 + 0.5 * (1 - sum(look.skin) / 700)
  grid_y, grid_x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
  x, y = grid_x - CENTRE[0], grid_y - CENTRE[1]
  light = np.full((HEIGHT, WIDTH), 0.97, np.float32)
  for spot_x, spot_y, wide, high, strength in spots:
    light += (
      contrast
      * strength
      * np.exp(-(((x - spot_x) / wide) ** 2) - ((y - spot_y) / high) ** 2)
    )
  radius = (x / (54 * look.width)) ** 2 + (y / 70) ** 2
  return light - 0.26 * np.clip(radius - 0.45, 0, 1) ** 1.5


def _draw_beard(image, look, edge):
  if not look.beard:
    return
  area = np.zeros((HEIGHT, WIDTH), np.uint8)
  x, y = CENTRE
  low = edge[edge[:, 1] > y + 18]
  fill(area, np.concatenate([low[np.argsort(low[:, 0])], [(x, y + 30)]]), 255)
  fill(area, edge[edge[:, 1] > y + 22], 255)
  fill(area, _ellipse(x, y + 42, 27, 11), 0)
  area = cv2.GaussianBlur(area, (0, 0), 4)
  alpha = (look.beard * area / np.float32(255))[..., None]
  image[:] = image * (1 - alpha) + np.array(look.hair, np.float32) * alpha


def _draw_hair(image, look):
  """The hair that falls over the forehead."""
  if look.hair_style == 'bald':
    return
  x, y = CENTRE
  wide = 60 * look.width
  angle = np.linspace(np.pi * 0.97, np.pi * 2.03, 32)
  crown = np.stack([x + wide * np.cos(angle), y - 8 + 70 * np.sin(angle)], 1)
  if look.hair_style == 'short':
    line = [(0.84, -26), (0.7, -40), (0.3, -46), (-0.3, -46), (-0.7, -40)]
    line += [(-0.84, -26)]
  elif look.hair_style == 'parted':
    line = [(0.86, -12), (0.72, -34), (0.35, -44), (-0.28, -54), (-0.68, -36)]
    line += [(-0.86, -14)]
  else:
    line = [(0.88, 8), (0.8, -26), (0.45, -42), (0.0, -53), (-0.45, -42)]
    line += [(-0.8, -26), (-0.88, 8)]
  brow = [(x + wide * across, y + down) for across, down in line]
  fill(image, np.concatenate([crown, brow]), look.hair)
  shine = tuple(int(min(255, 1.35 * c + 10)) for c in look.hair)
  arc = np.linspace(np.pi * 1.2, np.pi * 1.65, 16)
  points = np.stack([x + 42 * np.cos(arc), y - 8 + 56 * np.sin(arc)], 1)
  cv2.polylines(image, [fixed(points)], False, shine, 2, cv2.LINE_AA, SHIFT)


def draw_background(
  look: Look, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
  """A plain wall with soft stains, uint8 [H, W, 3]; size is (W, H)."""
  width, height = size
  coarse = rng.normal(0, 9, (6, 8, 1)) + np.array(look.background)
  image = cv2.resize(
    coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
  )
  return np.clip(image, 0, 255).astype(np.uint8)


def light_frame(look: Look, size: tuple[int, int]) -> np.ndarray:
  """The light over the frame, float32 [H, W, 1]; size is (W, H)."""
  width, height = size
  across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
  down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
  return look.exposure * (1 + look.light[0] * across - look.light[1] * down)
