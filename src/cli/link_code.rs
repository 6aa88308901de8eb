//! A viewing link as a QR code.

use std::io::IsTerminal;

use qrcode::QrCode;
use qrcode::render::unicode;

/// The link as a QR code, where somebody looks.
pub(super) fn show_code(link: &str) {
    if std::io::stdout().is_terminal()
        && let Ok(code) = QrCode::new(link.as_bytes())
    {
        println!("{}", code.render::<unicode::Dense1x2>().quiet_zone(true).build());
        println!();
    }
}
