//! Rectangles whose areas are sizes: Bruls, Huizing, van Wijk, "Squarified Treemaps" (2000).

/// A rectangle, in units of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Divides `whole` among `sizes`, which are ordered with the largest first. Sizes of 0 have no area.
pub(super) fn squarify(sizes: &[u64], whole: Area) -> Vec<Area> {
    let total: u64 = sizes.iter().sum();
    let scale = whole.width * whole.height / (total.max(1) as f64);
    let mut areas = Vec::with_capacity(sizes.len());
    let (mut rest, mut begin) = (whole, 0);
    while begin < sizes.len() {
        let side = rest.width.min(rest.height);
        let mut end = begin + 1;
        while end < sizes.len()
            && worst(&sizes[begin..=end], scale, side) <= worst(&sizes[begin..end], scale, side)
        {
            end += 1;
        }
        rest = row(&sizes[begin..end], scale, rest, &mut areas);
        begin = end;
    }
    areas
}

/// How far the least square rectangle of a row is from a square; 1 is one.
fn worst(row: &[u64], scale: f64, side: f64) -> f64 {
    let sum = row.iter().sum::<u64>() as f64 * scale;
    let depth = sum / side;
    let ratios = row.iter().map(|size| {
        let length = *size as f64 * scale / depth;
        (length / depth).max(depth / length)
    });
    ratios.fold(1.0, f64::max)
}

/// Lays a row along the shorter side, and gives what is left.
fn row(row: &[u64], scale: f64, rest: Area, areas: &mut Vec<Area>) -> Area {
    let side = rest.width.min(rest.height);
    let sum = row.iter().sum::<u64>() as f64 * scale;
    let depth = if side > 0.0 { sum / side } else { 0.0 };
    let is_column = rest.width >= rest.height;
    let mut at = 0.0;
    for size in row {
        let length = if depth > 0.0 { *size as f64 * scale / depth } else { 0.0 };
        areas.push(match is_column {
            true => Area { x: rest.x, y: rest.y + at, width: depth, height: length },
            false => Area { x: rest.x + at, y: rest.y, width: length, height: depth },
        });
        at += length;
    }
    match is_column {
        true => Area { x: rest.x + depth, width: (rest.width - depth).max(0.0), ..rest },
        false => Area { y: rest.y + depth, height: (rest.height - depth).max(0.0), ..rest },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: Area = Area { x: 0.0, y: 0.0, width: 960.0, height: 400.0 };

    fn overlap(one: &Area, other: &Area) -> f64 {
        let length = |low: f64, size: f64, low2: f64, size2: f64| {
            ((low + size).min(low2 + size2) - low.max(low2)).max(0.0)
        };
        length(one.x, one.width, other.x, other.width) * length(one.y, one.height, other.y, other.height)
    }

    proptest! {
        #[test]
        fn areas_are_the_sizes_and_none_covers_another(mut sizes in prop::collection::vec(0..1_000_000u64, 1..60)) {
            sizes.sort_by(|one, other| other.cmp(one));
            let areas = squarify(&sizes, WHOLE);
            prop_assert_eq!(areas.len(), sizes.len());
            let total = sizes.iter().sum::<u64>().max(1) as f64;
            for (area, size) in areas.iter().zip(&sizes) {
                let expected = WHOLE.width * WHOLE.height * *size as f64 / total;
                prop_assert!((area.width * area.height - expected).abs() < 1e-3, "{:?} of {}", area, size);
                prop_assert!(area.x >= 0.0 && area.x + area.width <= WHOLE.width + 1e-6);
                prop_assert!(area.y >= 0.0 && area.y + area.height <= WHOLE.height + 1e-6);
            }
            for (at, one) in areas.iter().enumerate() {
                for other in &areas[at + 1..] {
                    prop_assert!(overlap(one, other) < 1e-3, "{:?} {:?}", one, other);
                }
            }
        }
    }

    #[test]
    fn equal_sizes_are_nearly_square() {
        for area in squarify(&[1; 12], WHOLE) {
            assert!(area.width / area.height < 2.0 && area.height / area.width < 2.0, "{area:?}");
        }
    }
}
