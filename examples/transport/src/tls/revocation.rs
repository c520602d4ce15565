//! Revocation lists, and who signed them.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::{Pem, TlsError, Trust};

/// The lists of `trust`. If there are any, each is of one of its roots, and each root has one: otherwise a list would be without
/// effect, or all certificates of a root be refused.
pub(super) fn lists(trust: &Trust, provider: &CryptoProvider) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let roots = each(&trust.roots, Pem::certificates)?;
    let lists = each(&trust.crls, Pem::revocation_lists)?;
    let signed = |list: &CertificateRevocationListDer<'_>, root: &CertificateDer<'_>| is_signed(list, root, provider);
    if let Some((pem, _)) = lists.iter().find(|(_, list)| !roots.iter().any(|(_, root)| signed(list, root))) {
        return Err(TlsError::ForeignList { name: pem.name() });
    }
    let bare = |root: &CertificateDer<'_>| !lists.is_empty() && !lists.iter().any(|(_, list)| signed(list, root));
    if let Some((pem, _)) = roots.iter().find(|(_, root)| bare(root)) {
        return Err(TlsError::NoList { name: pem.name() });
    }
    Ok(lists.into_iter().map(|(_, list)| list).collect())
}

fn each<T>(pems: &[Pem], read: impl Fn(&Pem) -> Result<Vec<T>, TlsError>) -> Result<Vec<(&Pem, T)>, TlsError> {
    let mut all = Vec::new();
    for pem in pems {
        all.extend(read(pem)?.into_iter().map(|value| (pem, value)));
    }
    Ok(all)
}

/// Whether the root bears the name of the list's issuer, and its key made the signature. Lists that cannot be read are left to
/// rustls, which says what is wrong with them.
fn is_signed(list: &CertificateRevocationListDer<'_>, root: &CertificateDer<'_>, provider: &CryptoProvider) -> bool {
    let (Ok((_, list)), Ok((_, root))) = (CertificateRevocationList::from_der(list), X509Certificate::from_der(root)) else {
        return true;
    };
    let key = &root.public_key().subject_public_key.data;
    let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    // Whichever algorithm it is: only with the right one it fits.
    let algorithms = provider.signature_verification_algorithms.all;
    list.issuer() == root.subject() && algorithms.iter().any(|it| it.verify_signature(key, message, signature).is_ok())
}
