import com.pixelmed.validate.DicomSRValidator;

/** Runs PixelMed's validator over many files: starting it takes longer than a file does. */
public class ValidateReports {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("File: " + file);
            System.out.println(validator.validate(file));
        }
    }
}
