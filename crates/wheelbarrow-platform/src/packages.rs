//! The packages of a Linux distribution that contain libraries.

/// Debian's and Ubuntu's packages of libraries that wheels need and small servers lack. `needs.py` has a
/// copy.
pub const PACKAGES: [(&str, &str); 16] = [
    ("libGL.so.1", "libgl1"),
    ("libICE.so.6", "libice6"),
    ("libSM.so.6", "libsm6"),
    ("libX11.so.6", "libx11-6"),
    ("libXext.so.6", "libxext6"),
    ("libXrender.so.1", "libxrender1"),
    ("libatomic.so.1", "libatomic1"),
    ("libexpat.so.1", "libexpat1"),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libglib-2.0.so.0", "libglib2.0-0"),
    ("libgobject-2.0.so.0", "libglib2.0-0"),
    ("libgthread-2.0.so.0", "libglib2.0-0"),
    ("libpq.so.5", "libpq5"),
    ("libssl.so.3", "libssl3"),
    ("libstdc++.so.6", "libstdc++6"),
    ("libz.so.1", "zlib1g"),
];

/// How to get a library.
pub fn package_hint(library: &str) -> String {
    let red_hat = format!("`dnf install '{library}()(64bit)'` on Red Hat's systems");
    match PACKAGES.iter().find(|(known, _)| *known == library) {
        Some((_, package)) => format!("`apt install {package}` on Debian and Ubuntu, {red_hat}"),
        None => format!("`apt-file search {library}` on Debian and Ubuntu names its package, {red_hat}"),
    }
}
