package io.tidemill;

import java.security.GeneralSecurityException;
import java.util.Base64;
import org.apache.spark.sql.api.java.UDF4;

/**
 * {@code (value, tenant, subject, column) → token}: the same for the same value of a subject, in all tables of the tenant.
 *
 * <p>AES-SIV under the tenant's key, of a pseudonym that is made with the subject's own: once that is destroyed, no key that is left
 * leads from the token back to the value, nor from a guess to the token.
 */
public final class Token implements UDF4<String, String, String, String, String> {
  private static final long serialVersionUID = 1L;
  private static final int BYTES = 16;

  @Override
  public String call(String value, String tenant, String subject, String column) throws GeneralSecurityException {
    if (value == null || tenant == null || subject == null) {
      return null;
    }
    Keyring keyring = Keyring.get();
    byte[] named = Keyring.bytes(column + "\0" + value);
    byte[] pseudonym = keyring.subject(tenant, subject).pseudonyms().computePrimary(named, BYTES);
    byte[] token = keyring.tokens(tenant).encryptDeterministically(pseudonym, Keyring.bytes(tenant + "\0" + column));
    return Base64.getUrlEncoder().withoutPadding().encodeToString(token);
  }
}
