"""The moving features of a face, and the frames of a clip."""

from collections.abc import Iterator

import cv2
import numpy as np

from avemo.simulate import face, motion

_NOISE = 3
_NOISE_MARGIN = 64
_T = np.linspace(-1, 1, 25)
_ROUND = 1 - _T**2

_SCLERA = (226, 222, 216)
_LASH = (34, 26, 24)
_TEETH = (236, 232, 222)
_MOUTH = (52, 20, 22)


class Artist:
  """Draws one speaker; what does not move is drawn once.

  Attributes:
    look: whose face it is.
    size: width and height of the frames in pixels.
  """

  def __init__(
    self,
    look: face.Look,
    size: tuple[int, int],
    rng: np.random.Generator,
  ):
    """Prepares the layers.

    Args:
      look: whose face it is.
      size: width and height of the frames in pixels.
      rng: of the background and the grain of the picture.
    """
    self.look = look
    self.size = size
    width, height = size
    light = face.light_frame(look, size)
    background = face.draw_background(look, size, rng) * light
    self._background = np.clip(background, 0, 255).astype(np.uint8)
    # The light goes along with the canvas: the head hardly moves in it.
    canvas = cv2.warpAffine(
      light[..., 0],
      self._placement(0.0, (0.0, 0.0), 1.0),
      (face.WIDTH, face.HEIGHT),
      flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR,
      borderMode=cv2.BORDER_REPLICATE,
    )
    self._light = canvas[..., None]
    self._bases = {}
    self._noise = rng.integers(
      0,
      2 * _NOISE + 1,
      (height + _NOISE_MARGIN, width + _NOISE_MARGIN),
      dtype=np.uint8,
    )
    self._noise = np.repeat(self._noise[..., None], 3, axis=2)
    self._lines = 0.75 + look.age / 160
    skin = np.array(look.skin, float)
    self._lip = _colour(skin * [0.78, 0.52, 0.52] + [14, 4, 8])
    # Brown brows on brown skin would say nothing.
    self._brow = _colour(np.minimum(0.8 * np.array(look.hair), 0.45 * skin))
    self._nostril = _colour(0.35 * skin)
    # In the same light as the skin, or bright eyes and teeth drown the pattern
    # of light and dark that detectors look for.
    self._sclera = 0.62 * np.array(_SCLERA) + 0.33 * skin
    self._teeth = _colour(0.62 * np.array(_TEETH) + 0.3 * skin)

  def _placement(self, roll, shift, scale):
    """The affine map from canvas to frame."""
    width, height = self.size
    zoom = scale * height / face.HEIGHT
    matrix = cv2.getRotationMatrix2D(face.CENTRE, roll, zoom)
    matrix[0, 2] += width / 2 - face.CENTRE[0] + shift[0] * height / 100
    matrix[1, 2] += 0.46 * height - face.CENTRE[1] + shift[1] * height / 100
    return matrix

  def _base(self, jaw):
    if jaw not in self._bases:
      image, person = face.draw_base(self.look, jaw)
      image = np.clip(image * self._light, 0, 255).astype(np.uint8)
      self._bases[jaw] = image, person
    return self._bases[jaw]

  def draw(self, units: np.ndarray, head: np.ndarray) -> tuple:
    """One canvas: uint8 [240, 192, 3], and uint8 [240, 192] where he is.

    Args:
      units: float [len(motion.UNITS)].
      head: float [len(motion.HEAD)].
    """
    au = dict(zip(motion.UNITS, np.clip(units, 0, 1.3), strict=True))
    pose = dict(zip(motion.HEAD, head, strict=True))
    jaw = int(np.clip(round(9 * au['jaw_drop']), 0, 12))
    base, person = self._base(jaw)
    image = base.copy()
    x = face.CENTRE[0] + pose['yaw']
    y = face.CENTRE[1] + pose['pitch']
    self._draw_lines(image, au, x, y)
    self._draw_nose(image, au, x, y)
    self._draw_eyes(image, au, pose, x, y)
    self._draw_brows(image, au, x, y)
    self._draw_mouth(image, au, x, y)
    return image, person

  def _draw_lines(self, image, au, x, y):
    """Folds of the skin, as soft shadows."""
    shade = np.full(image.shape[:2], 255, np.uint8)
    frown, wrinkle = au['brow_lowerer'], au['nose_wrinkler']
    smile, sneer = au['lip_corner_puller'], au['upper_lip_raiser']
    raised = min(au['inner_brow_raiser'], 1) * (1 - 0.5 * min(frown, 1))
    outer = au['outer_brow_raiser']
    for number in range(3):
      width = 12 + 18 * outer
      bend = 3 * (outer - au['inner_brow_raiser'])
      points = np.stack([x + width * _T, y - 32 - 6 * number + bend * _T**2], 1)
      self._crease(shade, points, 0.3 * raised)
    for side in (-1, 1):
      down = np.linspace(0, 1, 8)
      self._crease(
        shade,
        np.stack([x + side * (5 - 1.5 * down), y - 26 + 14 * down], 1),
        0.55 * frown + 0.3 * wrinkle,
      )
      fold = np.stack(
        [
          x + side * (13 + 14 * down + 3 * np.sin(np.pi * down)),
          y + 16 + 24 * down,
        ],
        1,
      )
      self._crease(shade, fold, max(0.55 * sneer, 0.6 * wrinkle, 0.5 * smile))
      bag = np.stack([x + side * 22 + 12 * _T, y + 9 + 3 * _ROUND], 1)
      self._crease(shade, bag, 0.5 * au['cheek_raiser'])
      crow = np.stack([x + side * (37 + 5 * down), y - 6 + 5 * down], 1)
      self._crease(shade, crow, 0.35 * au['cheek_raiser'])
      lid = np.stack([x + side * 22 + 12 * _T, y - 11 - 3 * _ROUND], 1)
      self._crease(shade, lid, 0.3)
    for number in range(3):
      points = np.stack([x + 9 * _T, y - 9 + 5 * number - 2 * _ROUND], 1)
      self._crease(shade, points, 0.4 * wrinkle)
    chin = np.stack([x + 11 * _T, y + 60 - 4 * _ROUND], 1)
    self._crease(shade, chin, 0.45 * au['chin_raiser'])
    shade = cv2.blur(shade, (3, 3))
    cv2.multiply(image, cv2.cvtColor(shade, cv2.COLOR_GRAY2RGB), image, 1 / 255)

  def _crease(self, shade, points, depth):
    depth = min(0.8, depth * self._lines)
    if depth > 0.04:
      level = int(255 * (1 - depth))
      cv2.polylines(
        shade, [face.fixed(points)], False, level, 2, cv2.LINE_AA, face.SHIFT
      )

  def _draw_nose(self, image, au, x, y):
    look = self.look
    up = 4 * min(au['nose_wrinkler'], 1.1) + 1.5 * au['upper_lip_raiser']
    base = y + 25 * look.nose_length - up
    wide = 9 * look.nose_width * (1 + 0.2 * au['nose_wrinkler'])
    for side in (-1, 1):
      angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
      hole = np.stack(
        [
          x + side * 0.6 * wide + 3.4 * np.cos(angle),
          base + 1.9 * np.sin(angle),
        ],
        1,
      )
      face.fill(image, hole, self._nostril)
      curve = np.linspace(-0.5, 0.5, 8) * np.pi
      wing = np.stack(
        [x + side * (wide + 2 * np.cos(curve)), base - 2 + 5 * np.sin(curve)],
        1,
      )
      cv2.polylines(
        image, [face.fixed(wing)], False, self._nostril, 1, cv2.LINE_AA,
        face.SHIFT,
      )  # fmt: skip

  def _draw_eyes(self, image, au, pose, x, y):
    look = self.look
    closed = np.clip(au['eyes_closed'], 0, 1)
    squeeze = 0.45 * au['lid_tightener'] + 0.35 * au['cheek_raiser']
    wide = 1 + 0.85 * au['upper_lid_raiser']
    top = 5.4 * look.eye_size * wide * (1 - closed)
    top *= 1 - 0.5 * min(squeeze, 1) * (1 - 0.5 * au['upper_lid_raiser'])
    bottom = 3.6 * look.eye_size * (1 - 0.85 * min(squeeze, 1))
    bottom *= 1 - 0.5 * closed
    half = 11.5 * look.eye_size
    for side in (-1, 1):
      eye_x = x + side * 22 * look.eye_distance
      eye_y = y - 4 - look.eye_height + 2.5 * closed
      across = eye_x + half * _T
      upper = np.stack([across, eye_y - top * _ROUND**0.75], 1)
      lower = np.stack([across, eye_y + bottom * _ROUND], 1)
      if top + bottom > 1.2:
        shape = np.concatenate([upper, lower[::-1]])
        self._fill_eye(image, shape, eye_x, eye_y, pose, look)
      cv2.polylines(
        image, [face.fixed(upper)], False, _LASH, 2, cv2.LINE_AA, face.SHIFT
      )
      cv2.polylines(
        image, [face.fixed(lower)], False, self._nostril, 1, cv2.LINE_AA,
        face.SHIFT,
      )  # fmt: skip

  def _fill_eye(self, image, shape, eye_x, eye_y, pose, look):
    left, top = int(eye_x) - 18, int(eye_y) - 18
    part = image[top : top + 36, left : left + 36]
    mask = np.zeros(part.shape[:2], np.uint8)
    face.fill(mask, shape - [left, top], 255)
    white = _colour(self._sclera * self._light[int(eye_y), int(eye_x)])
    inside = np.empty_like(part)
    inside[:] = white
    centre = face.fixed(
      [(eye_x - left + pose['gaze_x'], eye_y - top - 0.5 + pose['gaze_y'])]
    )[0]
    centre = (int(centre[0]), int(centre[1]))
    unit = 1 << face.SHIFT
    radius = 5.4 * look.eye_size
    for size, colour in ((radius, look.iris), (0.48 * radius, (10, 8, 8))):
      cv2.circle(
        inside, centre, int(size * unit), colour, -1, cv2.LINE_AA, face.SHIFT
      )
    glint = (centre[0] - 2 * unit, centre[1] - 2 * unit)
    cv2.circle(
      inside, glint, unit, (250, 250, 250), -1, cv2.LINE_AA, face.SHIFT
    )
    cv2.copyTo(inside, cv2.threshold(mask, 127, 255, 0)[1], part)

  def _draw_brows(self, image, au, x, y):
    look = self.look
    inner_up = 9 * au['inner_brow_raiser'] - 6.5 * au['brow_lowerer']
    inner_up -= 3.5 * au['nose_wrinkler']
    outer_up = 9 * au['outer_brow_raiser'] - 0.5 * au['brow_lowerer']
    outer_up -= 1.5 * au['cheek_raiser'] + 1.0 * au['nose_wrinkler']
    middle_up = 0.5 * (inner_up + outer_up) - 0.8 * au['brow_lowerer']
    pinch = 4.5 * au['brow_lowerer'] + 2 * au['nose_wrinkler']
    level = y - 19 - look.brow_height - look.eye_height
    place = np.linspace(0, 1, 13)
    lift = (
      inner_up * (1 - place) * (1 - 2 * place)
      + middle_up * 4 * place * (1 - place)
      + outer_up * place * (2 * place - 1)
    )
    height = level - lift - 3.5 * np.sin(np.pi * place**1.3)
    thick = look.brow_weight * (2.9 - 2.1 * place)
    for side in (-1, 1):
      across = x + side * (8 - pinch * (1 - place) + 30 * place)
      points = np.concatenate(
        [
          np.stack([across, height - thick], 1),
          np.stack([across, height + thick], 1)[::-1],
        ]
      )
      face.fill(image, points, self._brow)

  def _draw_mouth(self, image, au, x, y):
    look = self.look
    tight = np.clip(au['lip_tightener'], 0, 1)
    smile, frown = au['lip_corner_puller'], au['lip_corner_depressor']
    stretch, sneer = au['lip_stretcher'], au['upper_lip_raiser']
    half = look.mouth_width * (
      20 + 7 * smile + 8 * stretch - 3 * tight - 3.5 * au['jaw_drop']
    )
    corner = -8.5 * smile + 7.5 * frown + 1.5 * stretch
    up = 3.0 * au['chin_raiser'] + 1.5 * sneer
    line = y + 42 - look.mouth_height - up + corner * np.abs(_T) ** 1.7
    line = line - 0.3 * corner
    part = au['lips_part'] * (1 - 0.75 * tight)
    gape = 4.2 * part + 11 * au['jaw_drop'] * min(1, 0.3 + part)
    flat = np.sqrt(np.maximum(_ROUND, 0)) if stretch > 0.3 else _ROUND
    open_up = 0.3 * gape * flat + 6 * sneer * _ROUND**0.6 * (
      0.55 + 0.45 * np.abs(_T)
    )
    open_down = 0.7 * gape * flat + 1.0 * sneer * _ROUND
    lip = look.lips * (1 - 0.65 * tight) * (1 - 0.3 * smile)
    bow = 1.1 * np.exp(-((_T / 0.16) ** 2))
    top = 4.2 * lip * _ROUND**0.7 - bow * lip
    bottom = (5.2 * lip + 1.5 * au['chin_raiser']) * _ROUND**0.8
    across = x + half * _T
    rows = (line - open_up - top, line - open_up, line + open_down)
    upper_edge, upper, lower = (np.stack([across, row], 1) for row in rows)
    lower_edge = np.stack([across, line + open_down + bottom], 1)
    face.fill(image, np.concatenate([upper_edge, lower_edge[::-1]]), self._lip)
    gap = open_up + open_down
    if gap.max() > 1.0:
      face.fill(image, np.concatenate([upper, lower[::-1]]), _MOUTH)
      # Talk alone hardly bares them, so that neutral speech stays neutral.
      bared = max(smile, stretch, sneer, 0.6 * au['jaw_drop'])
      teeth = np.minimum(0.75 * gap, 1.2 + 5.5 * min(bared, 1))
      inner = slice(3, -3)
      edge = np.stack([across, line - open_up + teeth], 1)
      if gap.max() > 2.2:
        face.fill(
          image, np.concatenate([upper[inner], edge[inner][::-1]]), self._teeth
        )
    else:
      cv2.polylines(
        image, [face.fixed(upper)], False, _MOUTH, 1, cv2.LINE_AA, face.SHIFT
      )
    for end in upper[0], upper[-1]:
      dimple = face.fixed([end, end + [0, 0.4 * np.sign(corner)]])
      cv2.polylines(image, [dimple], False, _MOUTH, 2, cv2.LINE_AA, face.SHIFT)

  def frames(
    self, course: motion.Motion, rng: np.random.Generator
  ) -> Iterator[np.ndarray]:
    """The frames of a clip, uint8 [H, W, 3] RGB each.

    Args:
      course: how the face moves.
      rng: of the grain.
    """
    width, height = self.size
    sigma = 0.9 * height / face.HEIGHT
    roll = motion.HEAD.index('roll')
    for number in range(len(course.units)):
      canvas, person = self.draw(course.units[number], course.head[number])
      matrix = self._placement(
        course.head[number, roll], course.shift[number], course.scale[number]
      )
      frame = self._background.copy()
      canvas = cv2.warpAffine(
        canvas, matrix, self.size, borderMode=cv2.BORDER_REPLICATE
      )
      person = cv2.warpAffine(
        person,
        matrix,
        self.size,
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
      )
      cv2.copyTo(canvas, person, frame)
      frame = cv2.GaussianBlur(frame, (0, 0), sigma)
      top, left = rng.integers(0, _NOISE_MARGIN, 2)
      grain = self._noise[top : top + height, left : left + width]
      frame = cv2.add(frame, grain)
      yield cv2.subtract(frame, (_NOISE,) * 4)


def _colour(values) -> tuple[int, int, int]:
  return tuple(int(c) for c in np.clip(np.asarray(values, float), 0, 255))
