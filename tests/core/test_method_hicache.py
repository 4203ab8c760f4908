"""HiCache on numbers worked out by hand."""

import pytest
from core.methods import rebuilt, recorded, seen

from dicache_core.methods.hicache import contracted, hermite, hermite2


def test_hermite_polynomials():
    # 1, 2x, 4x^2 - 2, 8x^3 - 12x at x = 2
    assert [hermite(n, 2.0) for n in range(4)] == [1, 4, 14, 40]
    # s^2 H_2(s x) = 0.25 H_2(1) = 0.5 at s = 0.5, x = 2
    assert contracted(2, 2.0, 0.5) == 0.5


def test_the_weights_by_hand():
    # one step ahead of three even ones, s = 0.5: h1 = 0.5 * 2 * 0.5 = 0.5, h2 / 2 = 0.25 (4 * 0.25 - 2) / 2 = -0.125
    # y = b + 0.5 (b - a) - 0.125 (b - 2a + c)
    assert hermite2(3.0, (2.0, 1.0, 0.0)) == pytest.approx((1.375, -0.25, -0.125))
    # gaps 2 and 4, two steps ahead: h1 = 1, h2 / 2 = -0.125 * ... = 0.25 (4 * 1 - 2) / 2 = 0.25
    # D1 = (b-a)/2, D1' = (a-c)/4, D2 = (D1 - D1')/2: b 1 + 1/2 + 0.0625, a -1/2 - 0.0625 - 0.03125, c 0.03125
    assert hermite2(8.0, (6.0, 4.0, 0.0)) == pytest.approx((1.5625, -0.59375, 0.03125))
    assert hermite2(3.0, (2.0, 1.0)) == pytest.approx((1.5, -0.5))
    assert hermite2(3.0, (2.0,)) == (1.0,)


def test_the_forecast_by_hand():
    # 0, 1, 4: 4 + 0.5 * 3 - 0.125 * 2
    assert rebuilt("hicache", [(seen(i), i * i) for i in range(3)], seen(3)) == pytest.approx(5.25)
    assert len(recorded("hicache", [(seen(i), i) for i in range(5)]).held) == 3
